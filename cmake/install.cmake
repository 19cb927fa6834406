include(CMakePackageConfigHelpers)

install(TARGETS lobit EXPORT lobit-targets FILE_SET HEADERS)
install(TARGETS lobit_program)
install(EXPORT lobit-targets NAMESPACE lobit:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/lobit)
configure_package_config_file(cmake/lobit-config.cmake.in ${PROJECT_BINARY_DIR}/lobit-config.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/lobit)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/lobit-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/lobit-config.cmake ${PROJECT_BINARY_DIR}/lobit-config-version.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/lobit)
