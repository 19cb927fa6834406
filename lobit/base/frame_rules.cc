#include <cstring>
#include <optional>

#include <link.h>

#include "lobit/base/frame_rules_internal.h"

// Part of every unwinder's ABI, though in no header of it: the table entry (FDE) of the function around `pc`.
struct dwarf_eh_bases {  // NOLINT(readability-identifier-naming): the name is the ABI's
  void* tbase;
  void* dbase;
  void* func;  // where the function starts
};
// NOLINTNEXTLINE(bugprone-reserved-identifier,readability-identifier-naming): as above
extern "C" const void* _Unwind_Find_FDE(void* pc, dwarf_eh_bases* bases);

namespace lobit::detail {
namespace {

// Register numbers of the x86-64 ABI.
constexpr uint64_t kFramePointer = 6;
constexpr uint64_t kStackPointer = 7;
constexpr uint64_t kReturnAddress = 16;

// Reads the bytes of one entry. Past its end everything is zero, which the instructions take as nothing to
// do.
class TableReader {
 public:
  TableReader(const std::byte* begin, const std::byte* end) : at_(begin), end_(end) {}

  bool is_at_end() const { return at_ >= end_; }

  template <typename T>
  T read() {
    T value{};
    if (static_cast<size_t>(end_ - at_) < sizeof value) {
      at_ = end_;
      return value;
    }
    std::memcpy(&value, at_, sizeof value);
    at_ += sizeof value;
    return value;
  }

  uint64_t read_unsigned() {  // LEB128
    uint64_t value = 0;
    for (uint32_t shift = 0;; shift += 7) {
      const auto byte = read<uint8_t>();
      if (shift < 64) value |= uint64_t{byte & 0x7fu} << shift;
      if ((byte & 0x80) == 0) return value;
    }
  }

  int64_t read_signed() {  // LEB128
    uint64_t value = 0;
    for (uint32_t shift = 0;; shift += 7) {
      const auto byte = read<uint8_t>();
      if (shift < 64) value |= uint64_t{byte & 0x7fu} << shift;
      if ((byte & 0x80) != 0) continue;
      if ((byte & 0x40) != 0 && shift + 7 < 64) value |= ~uint64_t{0} << (shift + 7);
      return static_cast<int64_t>(value);
    }
  }

  void skip(uint64_t bytes) { at_ = bytes > static_cast<uint64_t>(end_ - at_) ? end_ : at_ + bytes; }

  const char* read_string() {
    const auto* text = reinterpret_cast<const char*>(at_);
    while (read<char>() != '\0') {
    }
    return text;
  }

 private:
  const std::byte* at_;
  const std::byte* end_;
};

// An entry of the tables: what follows its 32-bit length. Longer ones exist in no program.
TableReader open_entry(const std::byte* entry) {
  uint32_t length = 0;
  std::memcpy(&length, entry, sizeof length);
  const std::byte* body = entry + sizeof length;
  return length == UINT32_MAX ? TableReader(body, body) : TableReader(body, body + length);
}

// How many bytes an address takes in an encoding (DW_EH_PE_*); 0: none that compilers use here.
size_t encoded_bytes(uint8_t encoding) {
  switch (encoding & 0x0f) {
    case 0x00:
    case 0x04:
    case 0x0c:
      return 8;
    case 0x03:
    case 0x0b:
      return 4;
    case 0x02:
    case 0x0a:
      return 2;
    default:
      return 0;
  }
}

// What the functions of one object file have in common (CIE).
struct CommonEntry {
  uint64_t code_factor = 1;
  int64_t data_factor = 1;
  size_t address_bytes = 8;
  bool has_augmentation_data = false;
  TableReader instructions;
};

// Reads the augmentation data, letter by letter. False for a signal's frame and for letters of other systems.
bool read_augmentation(const char* letters, TableReader& reader, CommonEntry& common) {
  for (const char* letter = letters; *letter != '\0'; ++letter) {
    switch (*letter) {
      case 'R':  // how addresses are written
        common.address_bytes = encoded_bytes(reader.read<uint8_t>());
        if (common.address_bytes == 0) return false;
        break;
      case 'L':  // how the exception table is
        reader.skip(1);
        break;
      case 'P': {  // who handles exceptions
        const size_t bytes = encoded_bytes(reader.read<uint8_t>());
        if (bytes == 0) return false;
        reader.skip(bytes);
        break;
      }
      default:
        return false;
    }
  }
  return true;
}

std::optional<CommonEntry> read_common(const std::byte* entry) {
  TableReader reader = open_entry(entry);
  reader.skip(sizeof(uint32_t));  // says that it is one
  const auto version = reader.read<uint8_t>();
  if (version != 1 && version != 3) return std::nullopt;
  const char* augmentation = reader.read_string();
  CommonEntry common{.instructions = reader};
  common.code_factor = reader.read_unsigned();
  common.data_factor = reader.read_signed();
  const uint64_t return_address = version == 1 ? reader.read<uint8_t>() : reader.read_unsigned();
  if (return_address != kReturnAddress) return std::nullopt;
  if (*augmentation == 'z') {
    common.has_augmentation_data = true;
    const uint64_t bytes = reader.read_unsigned();
    TableReader data = reader;
    if (!read_augmentation(augmentation + 1, data, common)) return std::nullopt;
    reader.skip(bytes);
  } else if (*augmentation != '\0') {
    return std::nullopt;
  }
  common.instructions = reader;
  return common;
}

// Where a register of the caller's is.
struct SavedRegister {
  enum class Place : uint8_t { kUnchanged, kAtOffset, kUndefined, kElsewhere };
  Place place = Place::kUnchanged;
  int64_t offset = 0;  // from the CFA
};

struct Row {
  uint64_t cfa_register = UINT64_MAX;  // UINT64_MAX: an expression
  int64_t cfa_offset = 0;
  SavedRegister frame_pointer = {};
  SavedRegister return_address = {};
};

// Runs the instructions of the tables up to the row that covers a place in the code.
class RowProgram {
 public:
  using Place = SavedRegister::Place;

  RowProgram(const CommonEntry& common, uintptr_t start, uintptr_t place)
      : common_(common), at_(start), place_(place) {}

  // False when an instruction is not known.
  bool run(TableReader instructions) {
    while (is_known_ && at_ <= place_ && !instructions.is_at_end()) step(instructions);
    return is_known_;
  }

  void take_initial() { initial_ = row_; }
  const Row& row() const { return row_; }

 private:
  static constexpr size_t kMaxRemembered = 8;

  // The two highest bits are the instruction or say that the others are.
  void step(TableReader& in) {
    const auto code = in.read<uint8_t>();
    const uint8_t operand = code & 0x3f;
    switch (code >> 6) {
      case 1:
        advance(operand);
        break;
      case 2:
        save(operand, static_cast<int64_t>(in.read_unsigned()));
        break;
      case 3:
        restore(operand);
        break;
      default:
        step_extended(operand, in);
    }
  }

  void step_extended(uint8_t code, TableReader& in) {
    switch (code) {
      case 0x00:
        break;
      case 0x02:
        advance(in.read<uint8_t>());
        break;
      case 0x03:
        advance(in.read<uint16_t>());
        break;
      case 0x04:
        advance(in.read<uint32_t>());
        break;
      case 0x0a:
        remember();
        break;
      case 0x0b:
        recall();
        break;
      case 0x0c:
        row_.cfa_register = in.read_unsigned();
        row_.cfa_offset = static_cast<int64_t>(in.read_unsigned());
        break;
      case 0x0d:
        row_.cfa_register = in.read_unsigned();
        break;
      case 0x0e:
        row_.cfa_offset = static_cast<int64_t>(in.read_unsigned());
        break;
      case 0x0f:
        row_.cfa_register = UINT64_MAX;
        in.skip(in.read_unsigned());
        break;
      case 0x12:
        row_.cfa_register = in.read_unsigned();
        row_.cfa_offset = in.read_signed() * common_.data_factor;
        break;
      case 0x13:
        row_.cfa_offset = in.read_signed() * common_.data_factor;
        break;
      case 0x2e:
        in.read_unsigned();
        break;  // bytes of arguments on the stack: for who throws
      default:
        step_register(code, in);
    }
  }

  // Instructions about one register.
  void step_register(uint8_t code, TableReader& in) {
    if (code < 0x05 || code > 0x16) {
      is_known_ = false;
      return;
    }
    const uint64_t which = in.read_unsigned();
    switch (code) {
      case 0x05:
        save(which, static_cast<int64_t>(in.read_unsigned()));
        break;
      case 0x06:
        restore(which);
        break;
      case 0x07:
        set(which, {Place::kUndefined});
        break;
      case 0x08:
        set(which, {Place::kUnchanged});
        break;
      case 0x11:
        save(which, in.read_signed());
        break;
      case 0x10:
      case 0x16:
        set(which, {Place::kElsewhere});
        in.skip(in.read_unsigned());
        break;
      case 0x09:
      case 0x14:
      case 0x15:
        set(which, {Place::kElsewhere});
        in.read_unsigned();
        break;
      default:
        is_known_ = false;
    }
  }

  void advance(uint64_t delta) { at_ += delta * common_.code_factor; }
  void save(uint64_t which, int64_t factored) {
    set(which, {Place::kAtOffset, factored * common_.data_factor});
  }
  void set(uint64_t which, SavedRegister value) {
    if (which == kFramePointer) row_.frame_pointer = value;
    if (which == kReturnAddress) row_.return_address = value;
  }
  void restore(uint64_t which) {
    if (which == kFramePointer) row_.frame_pointer = initial_.frame_pointer;
    if (which == kReturnAddress) row_.return_address = initial_.return_address;
  }
  void remember() {
    is_known_ = remembered_count_ < kMaxRemembered;
    if (is_known_) remembered_[remembered_count_++] = row_;
  }
  void recall() {
    is_known_ = remembered_count_ > 0;
    if (is_known_) row_ = remembered_[--remembered_count_];
  }

  const CommonEntry& common_;
  uintptr_t at_;
  uintptr_t place_;
  Row row_;
  Row initial_;
  std::array<Row, kMaxRemembered> remembered_;
  size_t remembered_count_ = 0;
  bool is_known_ = true;
};

FrameRule rule_of(const Row& row) {
  using Place = SavedRegister::Place;
  if (row.return_address.place == Place::kUndefined) return FrameRule::outermost();
  if (row.return_address.place != Place::kAtOffset || row.return_address.offset != -8)
    return FrameRule::other();
  if (row.cfa_register != kStackPointer && row.cfa_register != kFramePointer) return FrameRule::other();
  if (row.cfa_offset < 8 || row.cfa_offset % 8 != 0 || row.cfa_offset / 8 > FrameRule::kMaxCfaWords)
    return FrameRule::other();
  const SavedRegister& saved = row.frame_pointer;
  uint32_t saved_words = 0;
  if (saved.place == Place::kAtOffset) {
    if (saved.offset >= 0 || saved.offset % 8 != 0 || -saved.offset / 8 > FrameRule::kMaxSavedWords)
      return FrameRule::other();
    saved_words = static_cast<uint32_t>(-saved.offset / 8);
  } else if (saved.place != Place::kUnchanged) {
    return FrameRule::other();
  }
  return FrameRule(row.cfa_register == kFramePointer, static_cast<uint32_t>(row.cfa_offset / 8), saved_words);
}

struct ModuleSearch {
  uintptr_t address;
  bool is_found = false;
  uint64_t unloads = 0;
};

int look_at_module(dl_phdr_info* info, size_t, void* argument) {
  auto& search = *static_cast<ModuleSearch*>(argument);
  search.unloads = info->dlpi_subs;
  for (size_t i = 0; i < info->dlpi_phnum; ++i) {
    const auto& segment = info->dlpi_phdr[i];
    if (segment.p_type == PT_LOAD && search.address - info->dlpi_addr - segment.p_vaddr < segment.p_memsz) {
      search.is_found = true;
    }
  }
  return search.is_found ? 1 : 0;
}

}  // namespace

FrameRule read_frame_rule(uintptr_t address) {
#if defined(__x86_64__)
  // The call, which lies before the address that it returns to, may be the last instruction of its row.
  const uintptr_t place = address - 1;
  dwarf_eh_bases bases{};
  const auto* entry =
      static_cast<const std::byte*>(_Unwind_Find_FDE(reinterpret_cast<void*>(place), &bases));  // NOLINT
  if (entry == nullptr) return FrameRule::other();
  TableReader reader = open_entry(entry);
  // The distance back to the common entry, from the place where it is written.
  const auto distance = reader.read<int32_t>();
  const std::optional<CommonEntry> common = read_common(entry + sizeof(uint32_t) - distance);
  if (!common) return FrameRule::other();
  reader.skip(2 * common->address_bytes);  // start and length of the function
  if (common->has_augmentation_data) reader.skip(reader.read_unsigned());
  RowProgram program(*common, reinterpret_cast<uintptr_t>(bases.func), place);
  if (!program.run(common->instructions)) return FrameRule::other();
  program.take_initial();
  if (!program.run(reader)) return FrameRule::other();
  return rule_of(program.row());
#else
  static_cast<void>(address);
  return FrameRule::other();
#endif
}

FrameRule FrameRules::learn(uintptr_t address) {
  if (address >> kAddressBits != 0) return FrameRule::other();
  ModuleSearch search{.address = address - 1};
  ::dl_iterate_phdr(look_at_module, &search);
  if (unloads_.exchange(search.unloads, std::memory_order_relaxed) != search.unloads) {
    forget_all();
    return FrameRule::other();
  }
  // Code that a program writes while it runs may be another's a moment later.
  if (!search.is_found) return FrameRule::other();
  const FrameRule rule = read_frame_rule(address);
  keep(address, rule);
  return rule;
}

void FrameRules::keep(uintptr_t address, FrameRule rule) {
  const uint64_t word = (address / kSets) << FrameRule::kBits | rule.bits();
  for (auto& way : ways_) {
    std::atomic<uint64_t>& place = way[address % kSets];
    if (place.load(std::memory_order_relaxed) == 0) {
      place.store(word, std::memory_order_relaxed);
      return;
    }
  }
  // As good as any: the addresses of one set differ in these bits.
  ways_[address / kSets % kWays][address % kSets].store(word, std::memory_order_relaxed);
}

void FrameRules::forget_all() {
  for (auto& way : ways_) {
    for (auto& place : way) place.store(0, std::memory_order_relaxed);
  }
}

}  // namespace lobit::detail
