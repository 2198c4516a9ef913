// Python pickles, read without running anything: the stream becomes a graph of plain objects.
// Classes and functions are known from a fixed list (torch's rebuild functions, dictionaries,
// numpy scalars …); any other name ends the reading with an error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::io {

/// Index of an object in its Pickle. Objects may be shared and may form cycles.
using PickleRef = uint32_t;

enum class PickleKind : uint8_t {
  kNone,
  kBool,        // integer
  kInt,         // integer
  kFloat,       // real
  kText,        // text
  kBytes,       // text
  kList,        // items: lists, tuples, sets, torch.Size
  kDict,        // items: key, value, key, value …; integer: 1 if they are an object's members
  kGlobal,      // text: "module.name" (one name for all TorchScript classes)
  kPersistent,  // items: [what the id was]; torch's storages
  kTensor,      // items: arguments of _rebuild_tensor_v2 or _v3
  kNdarray,     // items: [state] of a numpy array, empty until BUILD
  kNumpyType,   // text: "f8", "i4", …; integer: 1 if big-endian
  kOpaque,      // harmless, of no use here
};

struct PickleObject {
  PickleKind kind = PickleKind::kNone;
  int64_t integer = 0;
  double real = 0;
  std::string_view text = {};
  std::vector<PickleRef> items = {};
};

/// One pickle and the objects it holds. Texts point into the pickle's bytes, which must stay.
class Pickle {
 public:
  /// Runs the stream at the front of `bytes` up to its STOP. `source` is for messages. Throws
  /// CorruptFile, or Unsupported naming the class or operation that is not on the list.
  Pickle(std::string_view bytes, std::string_view source);

  PickleRef root() const { return root_; }
  const PickleObject& operator[](PickleRef ref) const { return objects_[ref]; }
  /// Number of objects; refs are below it.
  size_t size() const { return objects_.size(); }
  /// Bytes up to and including STOP.
  size_t bytes_read() const { return bytes_read_; }

 private:
  friend class PickleMachine;
  std::vector<PickleObject> objects_;
  std::deque<std::string> decoded_;  // texts that are not in the stream as they are
  PickleRef root_ = 0;
  size_t bytes_read_ = 0;
};

}  // namespace tessera::io
