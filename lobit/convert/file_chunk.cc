#include "lobit/convert/file_chunk.h"

#include "lobit/base/check.h"
#include "lobit/convert/budget.h"
#include "lobit/convert/value_errors.h"

namespace lobit {

Status convert_file_chunk(const FileTensor& tensor, const Chunk& chunk, std::span<std::byte> buffer,
                          RecodeCounts& counts) {
  const RecodeSpec& spec = tensor.spec;
  const uint64_t source_at = tensor.source_offset + bytes_before(spec.from, chunk.first);
  const uint64_t target_at = tensor.target_offset + bytes_before(spec.to, chunk.first);
  const std::span<std::byte> in =
      buffer.subspan(Recoder::kTileBytes, bytes_before(spec.from, chunk.count));
  LOBIT_RETURN_IF_ERROR(tensor.source->read_at(source_at, in));
  if (spec.from == spec.to) return tensor.target->write_at(target_at, in);

  const uint64_t block_elements = traits(spec.from).block_elements;
  LOBIT_RETURN_IF_ERROR(check_codes({tensor.name, chunk.first / block_elements, tensor.source_offset},
                                    spec.from, in.data(), chunk.count / block_elements));
  const std::span<std::byte> out =
      buffer.subspan(target_offset(in.size()), bytes_before(spec.to, chunk.count));
  Recoder recoder(buffer.first(Recoder::kTileBytes));
  const RecodeCounts run = recoder.run(spec, in.data(), out.data(), chunk.count);
  if (run.encode.unrepresentable > 0) {
    const auto offender = recoder.find_unrepresentable(spec, in.data(), chunk.count);
    LOBIT_CHECK(offender.has_value());
    return unrepresentable_value(tensor.name, chunk.first + offender->index, offender->value,
                                 encoding_name(spec.from), encoding_name(spec.to), tensor.remedy);
  }
  counts += run;
  return tensor.target->write_at(target_at, out);
}

}  // namespace lobit
