# lobit_module(name [THREADED] [HEADERS h...] [SOURCES s...] [DEPS d...] [EXTERNAL t...] [TESTS t...])
#
# One call per folder of lobit/. The module is a static library that tests link; its objects also become part of
# liblobit, the one library that is installed with HEADERS. DEPS are modules
# of lower floors, EXTERNAL are imported targets. TESTS (foo_test.cc) become one program, lobit_<name>_test;
# THREADED ones also run under the thread sanitizer.
set_property(GLOBAL PROPERTY LOBIT_MODULES "")
set_property(GLOBAL PROPERTY LOBIT_HEADERS "")
set_property(GLOBAL PROPERTY LOBIT_TEST_MODULES "")
set_property(GLOBAL PROPERTY LOBIT_THREADED_MODULES "")

function(lobit_module name)
  cmake_parse_arguments(ARG "THREADED" "" "HEADERS;SOURCES;DEPS;EXTERNAL;TESTS" ${ARGN})
  set(target lobit_${name})
  if(ARG_SOURCES)
    add_library(${target} STATIC EXCLUDE_FROM_ALL ${ARG_SOURCES})
    set(scope PUBLIC)
    set_target_properties(${target} PROPERTIES
      POSITION_INDEPENDENT_CODE ON CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
    target_link_libraries(${target} PRIVATE lobit_flags)
    set_property(GLOBAL APPEND PROPERTY LOBIT_MODULES ${name})
  else()
    add_library(${target} INTERFACE)
    set(scope INTERFACE)
  endif()
  target_include_directories(${target} ${scope} ${PROJECT_SOURCE_DIR})
  list(TRANSFORM ARG_DEPS PREPEND lobit_)
  target_link_libraries(${target} ${scope} ${ARG_DEPS} ${ARG_EXTERNAL})
  list(TRANSFORM ARG_HEADERS PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/)
  set_property(GLOBAL APPEND PROPERTY LOBIT_HEADERS ${ARG_HEADERS})
  if(LOBIT_BUILD_TESTS AND ARG_TESTS)
    list(TRANSFORM ARG_TESTS PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/)
    set_property(GLOBAL PROPERTY LOBIT_TESTS_${name} "${ARG_TESTS}")
    set_property(GLOBAL APPEND PROPERTY LOBIT_TEST_MODULES ${name})
    if(ARG_THREADED)
      set_property(GLOBAL APPEND PROPERTY LOBIT_THREADED_MODULES ${name})
    endif()
  endif()
endfunction()
