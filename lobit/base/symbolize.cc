#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <cxxabi.h>
#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "lobit/base/call_stack.h"

namespace lobit {
namespace {

struct FreeMemory {
  void operator()(void* memory) const { std::free(memory); }  // NOLINT(cppcoreguidelines-no-malloc)
};

std::string text_or_empty(const char* text) {
  return text == nullptr ? std::string() : std::string(text);
}

bool is_mangled(std::string_view symbol) {
  return symbol.starts_with("_Z");
}

// "_ZN5lobit4FileD2Ev.cold" -> "lobit::File::~File()", "qsort@@GLIBC_2.2.5" -> "qsort": what follows a dot or
// an at sign is the compiler's and the linker's, not the author's.
std::string readable_name(std::string_view symbol) {
  std::string name(symbol.substr(0, symbol.find_first_of(".@")));
  if (!is_mangled(symbol)) return name;
  int status = 0;
  const std::unique_ptr<char, FreeMemory> text(abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status));
  return text == nullptr ? name : std::string(text.get());
}

// The DIEs around one as the tree has it, itself first and the compilation unit last.
class Scopes {
 public:
  explicit Scopes(Dwarf_Die& die) { count_ = ::dwarf_getscopes_die(&die, &data_); }
  ~Scopes() { std::free(data_); }  // NOLINT(cppcoreguidelines-no-malloc)
  Scopes(const Scopes&) = delete;
  Scopes& operator=(const Scopes&) = delete;

  std::span<Dwarf_Die> all() { return {data_, static_cast<size_t>(std::max(count_, 0))}; }

 private:
  Dwarf_Die* data_ = nullptr;
  int count_ = 0;
};

// "lobit::(anonymous namespace)::parse" from the tree, for a function that has no symbol of its own.
std::string qualified_name(
    Dwarf_Die& function) {  // NOLINT(misc-no-recursion): as deep as classes in functions
  // An inlined or cloned function names the one it is an instance of, and that may name its declaration.
  Dwarf_Die origin = function;
  Dwarf_Attribute attribute;
  for (const unsigned link : {DW_AT_abstract_origin, DW_AT_specification}) {
    Dwarf_Die target;
    if (::dwarf_attr(&origin, link, &attribute) != nullptr &&
        ::dwarf_formref_die(&attribute, &target) != nullptr) {
      origin = target;
    }
  }
  std::string name = text_or_empty(::dwarf_diename(&origin));
  if (name.empty()) return name;
  Scopes scopes(origin);
  const auto all = scopes.all();
  for (size_t i = 1; i < all.size(); ++i) {
    const char* const scope = ::dwarf_diename(&all[i]);
    switch (::dwarf_tag(&all[i])) {
      case DW_TAG_namespace:
        name = fmt::format("{}::{}", scope == nullptr ? "(anonymous namespace)" : scope, name);
        break;
      case DW_TAG_class_type:
      case DW_TAG_structure_type:
      case DW_TAG_union_type:
        name = fmt::format("{}::{}", scope == nullptr ? "(anonymous class)" : scope, name);
        break;
      case DW_TAG_subprogram:
        name = fmt::format("{}::{}", qualified_name(all[i]), name);
        return name;
      default:
        break;
    }
  }
  return name;
}

std::string function_name(Dwarf_Die& function) {
  Dwarf_Attribute attribute;
  for (const unsigned linkage : {DW_AT_linkage_name, DW_AT_MIPS_linkage_name}) {
    const char* const symbol = ::dwarf_formstring(::dwarf_attr_integrate(&function, linkage, &attribute));
    if (symbol != nullptr) return readable_name(symbol);
  }
  return qualified_name(function);
}

std::string joined_path(const char* folder, const char* file) {
  if (file == nullptr || *file == '/' || folder == nullptr) return text_or_empty(file);
  return fmt::format("{}/{}", folder, file);
}

// Where the compiler was started; what it was given as a relative path is relative to it.
const char* folder_of(Dwarf_Die& unit) {
  Dwarf_Attribute attribute;
  return ::dwarf_formstring(::dwarf_attr(&unit, DW_AT_comp_dir, &attribute));
}

// Where the function that was inlined at `call` was called.
void set_call_site(Dwarf_Die& unit, Dwarf_Die& call, StackFrame& frame) {
  Dwarf_Attribute attribute;
  Dwarf_Word line = 0;
  if (::dwarf_formudata(::dwarf_attr(&call, DW_AT_call_line, &attribute), &line) == 0) {
    frame.line = static_cast<uint32_t>(line);
  }
  Dwarf_Word number = 0;
  Dwarf_Files* files = nullptr;
  size_t count = 0;
  if (::dwarf_formudata(::dwarf_attr(&call, DW_AT_call_file, &attribute), &number) != 0 ||
      ::dwarf_getsrcfiles(&unit, &files, &count) != 0) {
    return;
  }
  frame.file = joined_path(folder_of(unit), ::dwarf_filesrc(files, number, nullptr, nullptr));
}

// The compilation units of a module by the addresses of their code. elfutils finds a unit by .debug_aranges,
// which clang does not write.
class UnitRanges {
 public:
  explicit UnitRanges(Dwfl_Module* module) {
    Dwarf_Addr bias = 0;
    for (Dwarf_Die* unit = nullptr; (unit = ::dwfl_module_nextcu(module, unit, &bias)) != nullptr;) {
      Dwarf_Addr base = 0;
      Dwarf_Addr start = 0;
      Dwarf_Addr end = 0;
      for (ptrdiff_t at = 0; (at = ::dwarf_ranges(unit, at, &base, &start, &end)) > 0;) {
        ranges_.push_back({start + bias, end + bias, unit});
      }
    }
    std::sort(ranges_.begin(), ranges_.end(), [](const auto& a, const auto& b) { return a.start < b.start; });
  }

  // nullptr when it is in none.
  Dwarf_Die* unit_at(Dwarf_Addr address) const {
    auto behind = std::upper_bound(ranges_.begin(), ranges_.end(), address,
                                   [](Dwarf_Addr value, const auto& range) { return value < range.start; });
    if (behind == ranges_.begin()) return nullptr;
    --behind;
    return address < behind->end ? behind->unit : nullptr;
  }

 private:
  struct Range {
    Dwarf_Addr start;
    Dwarf_Addr end;
    Dwarf_Die* unit;
  };
  std::vector<Range> ranges_;
};

// Whether functions with code may be among the children of a DIE that has none itself: a scope of names, or a
// function that is only described and has local classes.
bool may_hold_functions(int tag) {
  switch (tag) {
    case DW_TAG_namespace:
    case DW_TAG_class_type:
    case DW_TAG_structure_type:
    case DW_TAG_union_type:
    case DW_TAG_subprogram:
    case DW_TAG_lexical_block:
      return true;
    default:
      return false;
  }
}

// Adds the functions and inlined calls below `parent` whose code holds the address, the outermost first.
// (dwarf_getscopes() gives up at the first DIE that it cannot read, and then finds nothing.)
void add_functions(Dwarf_Die& parent, Dwarf_Addr address,  // NOLINT(misc-no-recursion): as deep as scopes
                   std::vector<Dwarf_Die>& found) {
  Dwarf_Die child;
  if (::dwarf_child(&parent, &child) != 0) return;
  do {
    const int tag = ::dwarf_tag(&child);
    const bool has_code =
        ::dwarf_hasattr(&child, DW_AT_low_pc) != 0 || ::dwarf_hasattr(&child, DW_AT_ranges) != 0;
    const bool is_function = tag == DW_TAG_subprogram || tag == DW_TAG_inlined_subroutine;
    if (!has_code && !may_hold_functions(tag)) continue;
    if (has_code && ::dwarf_haspc(&child, address) <= 0) continue;
    const size_t before = found.size();
    if (has_code && is_function) found.push_back(child);
    add_functions(child, address, found);
    if (has_code || found.size() > before) return;
  } while (::dwarf_siblingof(&child, &child) == 0);
}

// The modules of this process and what their files tell. For one thread.
class Symbolizer {
 public:
  Symbolizer() : session_(::dwfl_begin(&kCallbacks)) {
    if (session_ == nullptr) return;
    ::dwfl_report_begin(session_.get());
    ::dwfl_linux_proc_report(session_.get(), ::getpid());
    ::dwfl_report_end(session_.get(), nullptr, nullptr);
  }

  // The frames of a call that returns to `address`: more than one where calls were inlined.
  const StackTrace& frames(uintptr_t address) {
    const auto [found, is_new] = known_.try_emplace(address);
    if (is_new) found->second = look_up(address);
    return found->second;
  }

 private:
  struct EndSession {
    void operator()(Dwfl* session) const { ::dwfl_end(session); }
  };
  static constexpr Dwfl_Callbacks kCallbacks = {.find_elf = ::dwfl_linux_proc_find_elf,
                                                .find_debuginfo = ::dwfl_standard_find_debuginfo,
                                                .section_address = nullptr,
                                                .debuginfo_path = nullptr};

  // The compilation unit of an address, and how much its own addresses are less.
  struct Unit {
    Dwarf_Die* die = nullptr;
    Dwarf_Addr bias = 0;
  };

  StackTrace look_up(uintptr_t address) {
    // The call lies before the address that it returns to, which may be another line or function.
    const Dwarf_Addr call = address - 1;
    Dwfl_Module* const module = session_ == nullptr ? nullptr : ::dwfl_addrmodule(session_.get(), call);
    if (module == nullptr) return {{.function = fmt::format("{:#x}", address)}};
    StackTrace trace;
    if (const Unit unit = unit_at(module, call); unit.die != nullptr) {
      trace = functions_at(*unit.die, call - unit.bias);
      set_line(*unit.die, call - unit.bias, trace.front());
    }
    if (trace.empty()) trace.emplace_back();
    StackFrame& outer = trace.back();
    // Where the tree has a bare name, a C++ symbol has the arguments as well.
    const char* const symbol = symbol_at(module, call);
    if (symbol != nullptr && (outer.function.empty() || is_mangled(symbol))) {
      outer.function = readable_name(symbol);
    }
    if (outer.function.empty()) outer.function = place_in_module(module, address);
    if (trace.front().file.empty()) trace.front().file = module_path(module);
    return trace;
  }

  Unit unit_at(Dwfl_Module* module, Dwarf_Addr call) {
    Unit unit;
    unit.die = ::dwfl_module_addrdie(module, call, &unit.bias);
    if (unit.die != nullptr || ::dwfl_module_getdwarf(module, &unit.bias) == nullptr) return unit;
    unit.die = units_.try_emplace(module, module).first->second.unit_at(call);
    return unit;
  }

  // The functions around an address, the innermost first, and where each but the first is left. At least one.
  static StackTrace functions_at(Dwarf_Die& unit, Dwarf_Addr address) {
    std::vector<Dwarf_Die> functions;
    add_functions(unit, address, functions);
    StackTrace trace;
    StackFrame frame;
    for (auto die = functions.rbegin(); die != functions.rend(); ++die) {
      frame.function = function_name(*die);
      trace.push_back(std::exchange(frame, {}));
      if (::dwarf_tag(&*die) == DW_TAG_inlined_subroutine) set_call_site(unit, *die, frame);
    }
    if (trace.empty()) trace.emplace_back();
    return trace;
  }

  static void set_line(Dwarf_Die& unit, Dwarf_Addr address, StackFrame& frame) {
    Dwarf_Line* const found = ::dwarf_getsrc_die(&unit, address);
    if (found == nullptr) return;
    int line = 0;
    ::dwarf_lineno(found, &line);
    frame.line = static_cast<uint32_t>(std::max(line, 0));
    frame.file = joined_path(folder_of(unit), ::dwarf_linesrc(found, nullptr, nullptr));
  }

  // nullptr when there is none.
  static const char* symbol_at(Dwfl_Module* module, Dwarf_Addr call) {
    GElf_Off offset = 0;
    GElf_Sym symbol;
    return ::dwfl_module_addrinfo(module, call, &offset, &symbol, nullptr, nullptr, nullptr);
  }

  static std::string module_path(Dwfl_Module* module) {
    const char* path = nullptr;
    const char* const name =
        ::dwfl_module_info(module, nullptr, nullptr, nullptr, nullptr, nullptr, &path, nullptr);
    return text_or_empty(path != nullptr ? path : name);
  }

  // "libfoo.so+0x1234", with the address as the file counts.
  static std::string place_in_module(Dwfl_Module* module, uintptr_t address) {
    const std::string path = module_path(module);
    Dwarf_Addr bias = 0;
    if (::dwfl_module_getelf(module, &bias) == nullptr) {
      ::dwfl_module_info(module, nullptr, &bias, nullptr, nullptr, nullptr, nullptr, nullptr);
    }
    return fmt::format("{}+{:#x}", path.substr(path.rfind('/') + 1), address - bias);
  }

  std::unique_ptr<Dwfl, EndSession> session_;
  std::unordered_map<Dwfl_Module*, UnitRanges> units_;
  std::unordered_map<uintptr_t, StackTrace> known_;
};

StackTrace trace_of(Symbolizer& symbolizer, std::span<const uintptr_t> addresses) {
  StackTrace trace;
  for (const uintptr_t address : addresses) {
    const StackTrace& frames = symbolizer.frames(address);
    trace.insert(trace.end(), frames.begin(), frames.end());
  }
  return trace;
}

}  // namespace

StackTrace symbolize(std::span<const uintptr_t> addresses) {
  if (addresses.empty()) return {};
  Symbolizer symbolizer;
  return trace_of(symbolizer, addresses);
}

StackTrace stack_trace(StackId id) {
  return symbolize(stack_addresses(id));
}

std::vector<StackTrace> stack_traces(std::span<const StackId> ids) {
  std::vector<StackTrace> traces;
  traces.reserve(ids.size());
  Symbolizer symbolizer;
  for (const StackId id : ids) traces.push_back(trace_of(symbolizer, stack_addresses(id)));
  return traces;
}

}  // namespace lobit
