// Protocol-buffers wire format, reading only: a message is walked field by field without a schema.
#pragma once

#include <cstdint>
#include <string_view>

namespace tessera::text {

/// One field of a message. `value` holds varints and fixed-width numbers, `bytes` strings and
/// nested messages (a view into the input).
struct ProtoField {
  enum class Wire : uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

  uint32_t number = 0;
  Wire wire = Wire::kVarint;
  uint64_t value = 0;
  std::string_view bytes;

  bool is_varint() const { return wire == Wire::kVarint; }
  bool is_bytes() const { return wire == Wire::kBytes; }
  bool is_fixed32() const { return wire == Wire::kFixed32; }
  /// The bits of a fixed32 field as a float.
  float as_float() const;
};

/// Walks the fields of one message. Groups are skipped. Throws CorruptFile naming `source` when a
/// field is cut short or malformed.
///
///   ProtoReader reader(bytes, "tokenizer.model");
///   for (ProtoField field; reader.next(field);) …
class ProtoReader {
 public:
  ProtoReader(std::string_view message, std::string_view source)
      : message_(message), source_(source) {}

  /// Reads the next field; false at the end of the message.
  bool next(ProtoField& field);

 private:
  uint64_t read_varint();
  uint64_t read_fixed(size_t size);
  std::string_view read_bytes(uint64_t size);
  void skip_group(uint32_t number);
  [[noreturn]] void fail(std::string_view problem) const;

  std::string_view message_;
  std::string_view source_;
  size_t position_ = 0;
};

}  // namespace tessera::text
