// Pickle machine for the operations of protocol 2 as torch.save writes them, and the harmless ones
// of protocols 3 to 5. Objects live in one arena and refer to each other by index, so that neither
// deep nesting nor cycles can overflow the stack. Every operation makes at most one object or one
// reference for each byte it takes, so memory is bounded by the length of the stream.
// Operations: Lib/pickletools.py of CPython (facts only); class names:
// torch/_weights_only_unpickler.
#include "io/pickle.h"

#include "core/error.h"
#include "core/strings.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <unordered_map>

namespace tessera::io {
namespace {

constexpr size_t kMaxStream = size_t{256} << 20;
constexpr size_t kMaxObjects = size_t{1} << 23;
constexpr int kMaxProtocol = 5;
constexpr size_t kMaxName = 1024;
constexpr size_t kMaxTensorArguments = 16;
constexpr int64_t kIsRecord = 1;  // a kDict's integer

enum class Op : uint8_t {
  kMark = '(',
  kStop = '.',
  kPop = '0',
  kPopMark = '1',
  kDup = '2',
  kBinFloat = 'G',
  kBinInt = 'J',
  kBinInt1 = 'K',
  kBinInt2 = 'M',
  kNone = 'N',
  kBinPersId = 'Q',
  kReduce = 'R',
  kBinString = 'T',
  kShortBinString = 'U',
  kBinUnicode = 'X',
  kAppend = 'a',
  kBuild = 'b',
  kGlobal = 'c',
  kDict = 'd',
  kAppends = 'e',
  kBinGet = 'h',
  kLongBinGet = 'j',
  kList = 'l',
  kBinPut = 'q',
  kLongBinPut = 'r',
  kSetItem = 's',
  kTuple = 't',
  kSetItems = 'u',
  kEmptyDict = '}',
  kEmptyList = ']',
  kEmptyTuple = ')',
  kBinBytes = 'B',
  kShortBinBytes = 'C',
  kProto = 0x80,
  kNewObj = 0x81,
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kNewTrue = 0x88,
  kNewFalse = 0x89,
  kLong1 = 0x8a,
  kLong4 = 0x8b,
  kShortBinUnicode = 0x8c,
  kBinUnicode8 = 0x8d,
  kBinBytes8 = 0x8e,
  kEmptySet = 0x8f,
  kAddItems = 0x90,
  kFrozenSet = 0x91,
  kStackGlobal = 0x93,
  kMemoize = 0x94,
  kFrame = 0x95,
  kByteArray8 = 0x96,
};

// What calling a known class or function gives.
enum class Call {
  kNever,        // a plain name: a storage type, a torch.dtype
  kTensor,       // the arguments describe a tensor
  kFirst,        // the first argument is the result
  kFromType,     // (function, type, arguments, state): function(*arguments)
  kDict,         // a dictionary, from nothing or from pairs
  kFactoryDict,  // a dictionary; the argument is its default
  kRecord,       // an object whose BUILD state is a dictionary of its members
  kJoin,         // path parts
  kEncode,       // text to bytes, Latin-1
  kNumpyType,
  kNumpyScalar,
  kNdarray,
  kOpaque,
};

struct Known {
  std::string_view name;
  Call call;
};

constexpr auto kKnown = std::to_array<Known>({
    {"torch._utils._rebuild_tensor", Call::kTensor},
    {"torch._utils._rebuild_tensor_v2", Call::kTensor},
    {"torch._utils._rebuild_tensor_v3", Call::kTensor},
    {"torch._utils._rebuild_parameter", Call::kFirst},
    {"torch._utils._rebuild_parameter_with_state", Call::kFirst},
    {"torch._tensor._rebuild_from_type_v2", Call::kFromType},
    {"torch.Tensor", Call::kNever},
    {"torch.nn.parameter.Parameter", Call::kNever},
    {"torch.nn.parameter.Buffer", Call::kNever},
    {"torch.Size", Call::kFirst},
    {"torch.device", Call::kFirst},
    {"torch.DoubleStorage", Call::kNever},
    {"torch.FloatStorage", Call::kNever},
    {"torch.HalfStorage", Call::kNever},
    {"torch.BFloat16Storage", Call::kNever},
    {"torch.LongStorage", Call::kNever},
    {"torch.IntStorage", Call::kNever},
    {"torch.ShortStorage", Call::kNever},
    {"torch.CharStorage", Call::kNever},
    {"torch.ByteStorage", Call::kNever},
    {"torch.BoolStorage", Call::kNever},
    {"torch.ComplexFloatStorage", Call::kNever},
    {"torch.storage.UntypedStorage", Call::kNever},
    {"torch.float64", Call::kNever},
    {"torch.float32", Call::kNever},
    {"torch.float16", Call::kNever},
    {"torch.bfloat16", Call::kNever},
    {"torch.float8_e4m3fn", Call::kNever},
    {"torch.float8_e5m2", Call::kNever},
    {"torch.float8_e4m3fnuz", Call::kNever},
    {"torch.float8_e5m2fnuz", Call::kNever},
    {"torch.float8_e8m0fnu", Call::kNever},
    {"torch.int64", Call::kNever},
    {"torch.int32", Call::kNever},
    {"torch.int16", Call::kNever},
    {"torch.int8", Call::kNever},
    {"torch.uint64", Call::kNever},
    {"torch.uint32", Call::kNever},
    {"torch.uint16", Call::kNever},
    {"torch.uint8", Call::kNever},
    {"torch.bool", Call::kNever},
    {"torch.complex64", Call::kNever},
    {"torch.jit._pickle.build_intlist", Call::kFirst},
    {"torch.jit._pickle.build_doublelist", Call::kFirst},
    {"torch.jit._pickle.build_boollist", Call::kFirst},
    {"torch.jit._pickle.build_tensorlist", Call::kFirst},
    {"torch.jit._pickle.restore_type_tag", Call::kFirst},
    {"collections.OrderedDict", Call::kDict},
    {"collections.Counter", Call::kFactoryDict},
    {"collections.defaultdict", Call::kFactoryDict},
    {"argparse.Namespace", Call::kRecord},
    {"types.SimpleNamespace", Call::kRecord},
    {"pytorch_lightning.utilities.parsing.AttributeDict", Call::kDict},
    {"lightning_fabric.utilities.data.AttributeDict", Call::kDict},
    {"lightning.fabric.utilities.data.AttributeDict", Call::kDict},
    {"pathlib.Path", Call::kJoin},
    {"pathlib.PosixPath", Call::kJoin},
    {"pathlib.WindowsPath", Call::kJoin},
    {"pathlib.PurePosixPath", Call::kJoin},
    {"_codecs.encode", Call::kEncode},
    {"numpy.dtype", Call::kNumpyType},
    {"numpy.ndarray", Call::kNever},
    {"numpy.core.multiarray.scalar", Call::kNumpyScalar},
    {"numpy._core.multiarray.scalar", Call::kNumpyScalar},
    {"numpy.core.multiarray._reconstruct", Call::kNdarray},
    {"numpy._core.multiarray._reconstruct", Call::kNdarray},
    {"builtins.set", Call::kFirst},
    {"builtins.frozenset", Call::kFirst},
    {"builtins.list", Call::kFirst},
    {"builtins.tuple", Call::kFirst},
    {"builtins.dict", Call::kDict},
    {"builtins.bytearray", Call::kOpaque},
    {"builtins.complex", Call::kOpaque},
    {"builtins.int", Call::kNever},
    {"builtins.float", Call::kNever},
    {"builtins.bool", Call::kNever},
    {"builtins.str", Call::kNever},
    {"builtins.bytes", Call::kNever},
});

// Python 2 called builtins `__builtin__`; TorchScript names its classes after the source, and they
// hold members alone.
constexpr std::string_view kPython2Builtins = "__builtin__.";
constexpr std::string_view kTorchScript = "__torch__.";
constexpr Known kTorchScriptClass = {"__torch__", Call::kRecord};

}  // namespace

class PickleMachine {
 public:
  PickleMachine(std::string_view bytes, std::string_view source, Pickle& out)
      : bytes_(bytes), source_(source), out_(out) {}

  void run() {
    TESSERA_CHECK(bytes_.size() <= kMaxStream, Unsupported,
                  "{}: a pickle of {} bytes, expected at most {}", source_, bytes_.size(),
                  kMaxStream);
    while (true) {
      const size_t start = at_;
      const auto op = static_cast<Op>(take_number(1));
      if (op == Op::kStop) {
        break;
      }
      if (!run_constant(op) && !run_text(op) && !run_container(op) && !run_stack(op) &&
          !run_object(op)) {
        fail_op(static_cast<uint8_t>(op), start);
      }
    }
    out_.root_ = pop();
    out_.bytes_read_ = at_;
  }

 private:
  [[noreturn]] void fail_op(uint8_t op, size_t at) const {
    throw Unsupported(
        "{}: pickle operation 0x{:02x} at byte {} is not one that torch.save writes; save again "
        "with torch.save(model.state_dict(), …) or as safetensors",
        source_, op, at);
  }

  // ---- stream -------------------------------------------------------------------------------
  std::string_view take(uint64_t count) {
    TESSERA_CHECK(count <= bytes_.size() - at_, CorruptFile,
                  "{}: damaged pickle: {} bytes wanted at byte {}, {} are left", source_, count,
                  at_, bytes_.size() - at_);
    const std::string_view part = bytes_.substr(at_, count);
    at_ += count;
    return part;
  }

  uint64_t take_number(size_t width) {
    const std::string_view part = take(width);
    uint64_t value = 0;
    for (size_t i = width; i-- > 0;) {
      value = value << 8 | static_cast<unsigned char>(part[i]);
    }
    return value;
  }

  std::string_view take_line() {
    const size_t end = bytes_.find('\n', at_);
    TESSERA_CHECK(end != std::string_view::npos, CorruptFile,
                  "{}: damaged pickle: the name at byte {} has no end", source_, at_);
    const std::string_view line = bytes_.substr(at_, end - at_);
    at_ = end + 1;
    return line;
  }

  // ---- stack --------------------------------------------------------------------------------
  size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }

  PickleRef pop() {
    const PickleRef ref = top();
    stack_.pop_back();
    return ref;
  }

  PickleRef top() const {
    TESSERA_CHECK(stack_.size() > floor(), CorruptFile,
                  "{}: damaged pickle: nothing on the stack before byte {}", source_, at_);
    return stack_.back();
  }

  std::vector<PickleRef> pop_to_mark() {
    TESSERA_CHECK(!marks_.empty(), CorruptFile, "{}: damaged pickle: no mark before byte {}",
                  source_, at_);
    const auto begin = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<PickleRef> items(begin, stack_.end());
    stack_.erase(begin, stack_.end());
    marks_.pop_back();
    return items;
  }

  PickleRef add(PickleObject object) {
    TESSERA_CHECK(out_.objects_.size() < kMaxObjects, Unsupported,
                  "{}: a pickle with more than {} objects", source_, kMaxObjects);
    out_.objects_.push_back(std::move(object));
    return static_cast<PickleRef>(out_.objects_.size() - 1);
  }

  void push(PickleObject object) { stack_.push_back(add(std::move(object))); }

  PickleObject& object(PickleRef ref) { return out_.objects_[ref]; }

  PickleObject& expect(PickleRef ref, PickleKind kind, std::string_view what) {
    TESSERA_CHECK(object(ref).kind == kind, CorruptFile,
                  "{}: damaged pickle: expected {} before byte {}", source_, what, at_);
    return object(ref);
  }

  static PickleObject of(PickleKind kind) { return {.kind = kind}; }
  static PickleObject of_text(PickleKind kind, std::string_view text) {
    return {.kind = kind, .text = text};
  }
  static PickleObject of_int(int64_t value, PickleKind kind = PickleKind::kInt) {
    return {.kind = kind, .integer = value};
  }
  static PickleObject of_items(PickleKind kind, std::vector<PickleRef> items) {
    return {.kind = kind, .items = std::move(items)};
  }

  // ---- operations, by family; false: not of this family ----------------------------------------
  bool run_constant(Op op) {
    switch (op) {
      case Op::kNone:
        push(of(PickleKind::kNone));
        return true;
      case Op::kNewTrue:
      case Op::kNewFalse:
        push(of_int(op == Op::kNewTrue ? 1 : 0, PickleKind::kBool));
        return true;
      case Op::kBinInt:
        push(of_int(static_cast<int32_t>(take_number(4))));
        return true;
      case Op::kBinInt1:
        push(of_int(static_cast<int64_t>(take_number(1))));
        return true;
      case Op::kBinInt2:
        push(of_int(static_cast<int64_t>(take_number(2))));
        return true;
      case Op::kLong1:
        push_long(take(take_number(1)));
        return true;
      case Op::kLong4:
        push_long(take(take_number(4)));
        return true;
      case Op::kBinFloat: {
        uint64_t bits = 0;
        for (const char byte : take(8)) {  // big-endian
          bits = bits << 8 | static_cast<unsigned char>(byte);
        }
        push({.kind = PickleKind::kFloat, .real = std::bit_cast<double>(bits)});
        return true;
      }
      default:
        return false;
    }
  }

  // Two's complement, little-endian, any length; what exceeds 64 bits has no use here.
  void push_long(std::string_view bytes) {
    if (bytes.size() > 8) {
      push(of(PickleKind::kOpaque));
      return;
    }
    uint64_t value = !bytes.empty() && (bytes.back() & 0x80) != 0 ? ~uint64_t{0} : 0;
    for (size_t i = bytes.size(); i-- > 0;) {
      value = value << 8 | static_cast<unsigned char>(bytes[i]);
    }
    push(of_int(static_cast<int64_t>(value)));
  }

  bool run_text(Op op) {
    switch (op) {
      case Op::kShortBinUnicode:
      case Op::kShortBinString:
        push(of_text(PickleKind::kText, take(take_number(1))));
        return true;
      case Op::kBinUnicode:
      case Op::kBinString:
        push(of_text(PickleKind::kText, take(take_number(4))));
        return true;
      case Op::kBinUnicode8:
        push(of_text(PickleKind::kText, take(take_number(8))));
        return true;
      case Op::kShortBinBytes:
        push(of_text(PickleKind::kBytes, take(take_number(1))));
        return true;
      case Op::kBinBytes:
        push(of_text(PickleKind::kBytes, take(take_number(4))));
        return true;
      case Op::kBinBytes8:
      case Op::kByteArray8:
        push(of_text(PickleKind::kBytes, take(take_number(8))));
        return true;
      default:
        return false;
    }
  }

  bool run_container(Op op) {
    switch (op) {
      case Op::kEmptyDict:
        push(of(PickleKind::kDict));
        return true;
      case Op::kEmptyList:
      case Op::kEmptyTuple:
      case Op::kEmptySet:
        push(of(PickleKind::kList));
        return true;
      case Op::kTuple:
      case Op::kList:
      case Op::kFrozenSet:
        push(of_items(PickleKind::kList, pop_to_mark()));
        return true;
      case Op::kDict: {
        const std::vector<PickleRef> pairs = pop_to_mark();
        push(of(PickleKind::kDict));
        set_items(pairs);
        return true;
      }
      case Op::kTuple1:
      case Op::kTuple2:
      case Op::kTuple3:
        push_tuple(static_cast<size_t>(op) - static_cast<size_t>(Op::kTuple1) + 1);
        return true;
      case Op::kAppend:
      case Op::kAppends:
      case Op::kAddItems:
        append(op == Op::kAppend ? std::vector<PickleRef>{pop()} : pop_to_mark());
        return true;
      case Op::kSetItem: {
        const PickleRef value = pop();
        const PickleRef key = pop();
        set_items({key, value});
        return true;
      }
      case Op::kSetItems:
        set_items(pop_to_mark());
        return true;
      default:
        return false;
    }
  }

  void push_tuple(size_t count) {
    std::vector<PickleRef> items(count);
    for (size_t i = count; i-- > 0;) {
      items[i] = pop();
    }
    push(of_items(PickleKind::kList, std::move(items)));
  }

  void append(const std::vector<PickleRef>& items) {
    auto& list = expect(top(), PickleKind::kList, "a list").items;
    list.insert(list.end(), items.begin(), items.end());
  }

  void set_items(const std::vector<PickleRef>& pairs) {
    TESSERA_CHECK(pairs.size() % 2 == 0, CorruptFile,
                  "{}: damaged pickle: a key without a value before byte {}", source_, at_);
    auto& dict = expect(top(), PickleKind::kDict, "a dictionary").items;
    dict.insert(dict.end(), pairs.begin(), pairs.end());
  }

  bool run_stack(Op op) {
    switch (op) {
      case Op::kProto: {
        const auto protocol = static_cast<int>(take_number(1));
        TESSERA_CHECK(protocol <= kMaxProtocol, Unsupported,
                      "{}: pickle protocol {}, expected at most {}", source_, protocol,
                      kMaxProtocol);
        return true;
      }
      case Op::kFrame:
        take_number(8);
        return true;
      case Op::kMark:
        marks_.push_back(stack_.size());
        return true;
      case Op::kPop:
        // POP on a fresh mark takes the mark away.
        if (!marks_.empty() && marks_.back() == stack_.size()) {
          marks_.pop_back();
        } else {
          pop();
        }
        return true;
      case Op::kPopMark:
        pop_to_mark();
        return true;
      case Op::kDup:
        stack_.push_back(top());
        return true;
      case Op::kMemoize:
        memo_[static_cast<uint32_t>(memo_.size())] = top();
        return true;
      case Op::kBinPut:
        memo_[static_cast<uint32_t>(take_number(1))] = top();
        return true;
      case Op::kLongBinPut:
        memo_[static_cast<uint32_t>(take_number(4))] = top();
        return true;
      case Op::kBinGet:
        recall(static_cast<uint32_t>(take_number(1)));
        return true;
      case Op::kLongBinGet:
        recall(static_cast<uint32_t>(take_number(4)));
        return true;
      default:
        return false;
    }
  }

  void recall(uint32_t index) {
    const auto it = memo_.find(index);
    TESSERA_CHECK(it != memo_.end(), CorruptFile,
                  "{}: damaged pickle: object {} is used before it is made", source_, index);
    stack_.push_back(it->second);
  }

  bool run_object(Op op) {
    switch (op) {
      case Op::kGlobal: {
        const std::string_view module = take_line();
        push_global(module, take_line());
        return true;
      }
      case Op::kStackGlobal: {
        const std::string_view name = expect(pop(), PickleKind::kText, "a name").text;
        const std::string_view module = expect(pop(), PickleKind::kText, "a module").text;
        push_global(module, name);
        return true;
      }
      case Op::kBinPersId:
        push(of_items(PickleKind::kPersistent, {pop()}));
        return true;
      case Op::kReduce:
      case Op::kNewObj: {
        const PickleRef arguments = pop();
        const PickleRef callee = pop();
        expect(arguments, PickleKind::kList, "arguments");
        expect(callee, PickleKind::kGlobal, "a class");
        stack_.push_back(call(callee, arguments));
        return true;
      }
      case Op::kBuild: {
        const PickleRef state = pop();
        build(top(), state);
        return true;
      }
      default:
        return false;
    }
  }

  // ---- classes and functions -------------------------------------------------------------------
  void push_global(std::string_view module, std::string_view name) {
    TESSERA_CHECK(module.size() + name.size() <= kMaxName, CorruptFile,
                  "{}: damaged pickle: a class name of {} bytes", source_,
                  module.size() + name.size());
    std::string full = fmt::format("{}.{}", module, name);
    if (full.starts_with(kPython2Builtins)) {
      full = "builtins." + full.substr(kPython2Builtins.size());
    }
    const auto* known = std::find_if(kKnown.begin(), kKnown.end(),
                                     [&](const Known& row) { return row.name == full; });
    if (known == kKnown.end() && !full.starts_with(kTorchScript)) {
      throw Unsupported(
          "{}: the pickle asks for '{}', which is not on the list of harmless names; no code from "
          "files is run here. Save the tensors alone, with torch.save(model.state_dict(), …) or as "
          "safetensors",
          source_, utf8_lossy(full));
    }
    const Known& row = known == kKnown.end() ? kTorchScriptClass : *known;
    push(
        {.kind = PickleKind::kGlobal, .integer = static_cast<int64_t>(row.call), .text = row.name});
  }

  std::string_view keep(std::string text) {
    out_.decoded_.push_back(std::move(text));
    return out_.decoded_.back();
  }

  PickleRef call(PickleRef callee, PickleRef arguments) {
    // Copies of refs: adding an object may move all objects.
    const std::vector<PickleRef>& items = object(arguments).items;
    const PickleRef first = items.empty() ? arguments : items[0];
    const auto kind = static_cast<Call>(object(callee).integer);
    switch (kind) {
      case Call::kTensor:
        return add_tensor(arguments);
      case Call::kFirst:
        // set() and list() without arguments give the empty argument list itself: a new one, since
        // it may be shared.
        return items.empty() ? add(of(PickleKind::kList)) : first;
      case Call::kFromType:
        TESSERA_CHECK(items.size() >= 3 && object(items[0]).kind == PickleKind::kGlobal &&
                          static_cast<Call>(object(items[0]).integer) == Call::kTensor,
                      Unsupported, "{}: a tensor subclass that is not stored as a plain tensor",
                      source_);
        return add_tensor(items[2]);
      case Call::kDict:
        return items.empty() ? add(of(PickleKind::kDict)) : dict_of(first);
      case Call::kFactoryDict:
        return items.empty() || object(first).kind != PickleKind::kDict ? add(of(PickleKind::kDict))
                                                                        : first;
      case Call::kRecord:
        return add(of_int(kIsRecord, PickleKind::kDict));
      case Call::kJoin:
        return join_path(arguments);
      case Call::kEncode:
        return encode_latin1(expect(first, PickleKind::kText, "a text").text);
      case Call::kNumpyType:
        return add(
            of_text(PickleKind::kNumpyType, expect(first, PickleKind::kText, "a type name").text));
      case Call::kNumpyScalar:
        return numpy_scalar(arguments);
      case Call::kNdarray:
        return add(of(PickleKind::kNdarray));
      case Call::kOpaque:
        return add(of(PickleKind::kOpaque));
      case Call::kNever:
        break;
    }
    throw Unsupported("{}: the pickle calls '{}', which only names a type here", source_,
                      object(callee).text);
  }

  PickleRef add_tensor(PickleRef arguments) {
    const auto& items = expect(arguments, PickleKind::kList, "a tensor's arguments").items;
    TESSERA_CHECK(items.size() <= kMaxTensorArguments, CorruptFile,
                  "{}: damaged pickle: a tensor with {} arguments", source_, items.size());
    return add(of_items(PickleKind::kTensor, items));
  }

  // OrderedDict([[key, value], …]), as Python 2 wrote it, or dict({…}).
  PickleRef dict_of(PickleRef from) {
    if (object(from).kind == PickleKind::kDict) {
      return from;
    }
    std::vector<PickleRef> pairs;
    for (const PickleRef pair : expect(from, PickleKind::kList, "pairs").items) {
      const auto& items = expect(pair, PickleKind::kList, "a pair").items;
      TESSERA_CHECK(items.size() == 2, CorruptFile, "{}: damaged pickle: a pair of {} items",
                    source_, items.size());
      pairs.insert(pairs.end(), items.begin(), items.end());
    }
    charge(pairs.size());
    return add(of_items(PickleKind::kDict, std::move(pairs)));
  }

  PickleRef join_path(PickleRef arguments) {
    std::string path;
    for (const PickleRef part : object(arguments).items) {
      const std::string_view text = expect(part, PickleKind::kText, "a path").text;
      path += path.empty() || path.ends_with('/') ? "" : "/";
      path += text;
      charge(text.size());
    }
    return add(of_text(PickleKind::kText, keep(std::move(path))));
  }

  // Protocol 2 has no bytes: they come as text whose code points are the bytes.
  PickleRef encode_latin1(std::string_view text) {
    charge(text.size());
    std::string bytes;
    bytes.reserve(text.size());
    for (size_t i = 0; i < text.size();) {
      int length = 0;
      const char32_t point = utf8_decode(text.substr(i), &length);
      TESSERA_CHECK(point < 256, CorruptFile, "{}: damaged pickle: bytes hold U+{:04X}", source_,
                    static_cast<uint32_t>(point));
      bytes.push_back(static_cast<char>(point));
      i += static_cast<size_t>(length);
    }
    return add(of_text(PickleKind::kBytes, keep(std::move(bytes))));
  }

  // Copies are the only memory that a short operation on a shared object could multiply.
  void charge(size_t bytes) {
    copied_ += bytes;
    TESSERA_CHECK(copied_ <= 4 * bytes_.size(), CorruptFile,
                  "{}: damaged pickle: its texts are copied over and over", source_);
  }

  PickleRef numpy_scalar(PickleRef arguments) {
    const auto& items = object(arguments).items;
    if (items.size() != 2 || object(items[0]).kind != PickleKind::kNumpyType ||
        object(items[0]).integer != 0 || object(items[1]).kind != PickleKind::kBytes) {
      return add(of(PickleKind::kOpaque));
    }
    const std::string_view type = object(items[0]).text;
    const std::string_view bytes = object(items[1]).text;
    if (type == "f8" && bytes.size() == 8) {
      return add({.kind = PickleKind::kFloat, .real = load<double>(bytes)});
    }
    if (type == "f4" && bytes.size() == 4) {
      return add({.kind = PickleKind::kFloat, .real = load<float>(bytes)});
    }
    if (type == "i8" && bytes.size() == 8) {
      return add(of_int(load<int64_t>(bytes)));
    }
    if (type == "i4" && bytes.size() == 4) {
      return add(of_int(load<int32_t>(bytes)));
    }
    if (type == "b1" && bytes.size() == 1) {
      return add(of_int(bytes[0] != 0 ? 1 : 0, PickleKind::kBool));
    }
    return add(of(PickleKind::kOpaque));
  }

  template <class Number>
  static Number load(std::string_view bytes) {
    Number value;
    std::memcpy(&value, bytes.data(), sizeof(value));
    return value;
  }

  void build(PickleRef target, PickleRef state) {
    switch (object(target).kind) {
      case PickleKind::kDict:
        // For an OrderedDict the state is its attributes (`_metadata`): those are no items.
        if (object(target).integer == kIsRecord && object(state).kind == PickleKind::kDict) {
          const std::vector<PickleRef> members = object(state).items;
          charge(members.size());
          object(target).items = members;
        }
        break;
      case PickleKind::kNdarray:
        object(target).items = {state};
        break;
      case PickleKind::kNumpyType: {
        const auto& items = expect(state, PickleKind::kList, "a type's state").items;
        if (items.size() >= 2 && object(items[1]).kind == PickleKind::kText) {
          object(target).integer = object(items[1]).text == ">" ? 1 : 0;
        }
        break;
      }
      default:
        break;
    }
  }

  std::string_view bytes_;
  std::string_view source_;
  Pickle& out_;
  size_t at_ = 0;
  size_t copied_ = 0;
  std::vector<PickleRef> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint32_t, PickleRef> memo_;
};

Pickle::Pickle(std::string_view bytes, std::string_view source) {
  PickleMachine(bytes, source, *this).run();
}

}  // namespace tessera::io
