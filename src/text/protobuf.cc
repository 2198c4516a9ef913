// Protocol-buffers wire format after its public encoding guide: a tag is a varint of
// number << 3 | wire type; numbers are little-endian. Groups (wire types 3 and 4) carry nothing
// that we read, so they are skipped, nested ones too.
#include "text/protobuf.h"

#include "core/error.h"

#include <bit>

namespace tessera::text {
namespace {

constexpr int kMaxGroupDepth = 100;
constexpr uint32_t kStartGroup = 3;
constexpr uint32_t kEndGroup = 4;

}  // namespace

float ProtoField::as_float() const {
  return std::bit_cast<float>(static_cast<uint32_t>(value));
}

void ProtoReader::fail(std::string_view problem) const {
  throw CorruptFile(
      "{}: {} at byte {} of a protocol-buffers message; expected a SentencePiece model or another "
      "protocol-buffers file, fetch the file again",
      source_, problem, position_);
}

uint64_t ProtoReader::read_varint() {
  uint64_t value = 0;
  for (int shift = 0; shift < 70; shift += 7) {
    if (position_ >= message_.size()) {
      fail("a number is cut short");
    }
    const auto byte = static_cast<unsigned char>(message_[position_++]);
    value |= shift < 64 ? static_cast<uint64_t>(byte & 0x7F) << shift : 0;
    if (byte < 0x80) {
      return value;
    }
  }
  fail("a number has more than ten bytes");
}

uint64_t ProtoReader::read_fixed(size_t size) {
  const std::string_view bytes = read_bytes(size);
  uint64_t value = 0;
  for (size_t i = 0; i < size; ++i) {
    value |= static_cast<uint64_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
  }
  return value;
}

std::string_view ProtoReader::read_bytes(uint64_t size) {
  if (size > message_.size() - position_) {
    fail("a field is cut short");
  }
  const std::string_view bytes = message_.substr(position_, static_cast<size_t>(size));
  position_ += static_cast<size_t>(size);
  return bytes;
}

void ProtoReader::skip_group(uint32_t number) {
  uint32_t open[kMaxGroupDepth] = {number};
  int depth = 1;
  while (depth > 0) {
    const uint64_t tag = read_varint();
    const auto wire = static_cast<uint32_t>(tag & 7);
    const uint64_t field = tag >> 3;
    if (wire == kStartGroup) {
      if (depth == kMaxGroupDepth) {
        fail("groups are nested too deeply");
      }
      open[depth++] = static_cast<uint32_t>(field);
    } else if (wire == kEndGroup) {
      if (open[--depth] != field) {
        fail("a group ends that was not begun");
      }
    } else if (wire == 0) {
      read_varint();
    } else if (wire == 2) {
      read_bytes(read_varint());
    } else if (wire == 1 || wire == 5) {
      read_bytes(wire == 1 ? 8 : 4);
    } else {
      fail("an unknown kind of field stands");
    }
  }
}

bool ProtoReader::next(ProtoField& field) {
  while (position_ < message_.size()) {
    const uint64_t tag = read_varint();
    if (tag >> 32 != 0 || tag >> 3 == 0) {
      fail("an impossible field number stands");
    }
    field.number = static_cast<uint32_t>(tag >> 3);
    field.value = 0;
    field.bytes = {};
    switch (tag & 7) {
      case 0:
        field.wire = ProtoField::Wire::kVarint;
        field.value = read_varint();
        return true;
      case 1:
        field.wire = ProtoField::Wire::kFixed64;
        field.value = read_fixed(8);
        return true;
      case 2:
        field.wire = ProtoField::Wire::kBytes;
        field.bytes = read_bytes(read_varint());
        return true;
      case 5:
        field.wire = ProtoField::Wire::kFixed32;
        field.value = read_fixed(4);
        return true;
      case kStartGroup:
        skip_group(field.number);
        break;
      default:
        fail("an unknown kind of field stands");
    }
  }
  return false;
}

}  // namespace tessera::text
