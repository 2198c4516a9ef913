// The cursor through which constructors take their parameters: a place in a tree of named tensors
// that comes from a checkpoint or is initialised from scratch. Every request is checked and
// recorded, so that missing, mis-shaped and unused names come out as one error. Names are the
// checkpoint's own.
#pragma once

#include "io/checkpoint.h"
#include "io/quantization.h"

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::nn {

using at::Tensor;

/// How stored tensors become parameters.
struct LoadOptions {
  /// Unset: as stored (norms and biases still become fp32 on the CPU). Set: floating-point tensors
  /// are converted, and quantised weights dequantised.
  std::optional<at::ScalarType> dtype;
  at::Device device = at::kCPU;
  /// From scratch: parameters are drawn in place from libtorch's own generator, not from the seed.
  /// Quick, for measurements alone.
  bool draw_on_device = false;
};

/// How a parameter starts when nothing is loaded.
struct Init {
  enum class Kind { kNormal, kUniform, kConstant } kind = Kind::kNormal;
  double value = 0.02;  // standard deviation, half width, or the constant

  static Init normal(double standard_deviation) { return {Kind::kNormal, standard_deviation}; }
  static Init uniform(double half_width) { return {Kind::kUniform, half_width}; }
  static Init constant(double value) { return {Kind::kConstant, value}; }
};

/// A place in the tree. Cheap to copy; all cursors of one load share one record.
class Weights {
 public:
  /// Parameters come from `checkpoint`, mapped where the dtype is kept.
  static Weights from_checkpoint(io::Checkpoint checkpoint, LoadOptions options = {});
  /// Parameters are drawn from `seed`, fp32 on the CPU first, then moved: the same on every device.
  static Weights from_scratch(uint64_t seed, LoadOptions options = {});

  Weights child(std::string_view name) const;
  Weights child(int64_t index) const { return child(std::to_string(index)); }
  /// Dotted path from the root, "" at the root.
  const std::string& path() const { return path_; }
  const LoadOptions& options() const;
  bool is_scratch() const;

  /// Whether the checkpoint has `name` here; always false from scratch.
  bool has(std::string_view name) const;
  /// The tensor `name` of exactly `shape`, or a freshly initialised one. A missing or mis-shaped
  /// name is recorded for `finish` and gives an uninitialised tensor of that shape. An int8 weight
  /// of more than two axes (a convolution's) with `name`_scale [out, 1] beside it comes as floats.
  Tensor tensor(std::string_view name, at::IntArrayRef shape, Init init = {}) const;
  /// As `tensor`, but always fp32 on the CPU unless options().dtype says otherwise (norms, biases:
  /// small, and exact in the wider type).
  Tensor small_tensor(std::string_view name, at::IntArrayRef shape, Init init = {}) const;
  /// The stored tensor of whatever shape, as stored (no conversion, CPU); undefined when absent.
  Tensor raw(std::string_view name) const;
  /// The block format in which the matrix `name` stays: that of the file, on the CPU unless
  /// options().dtype asks for floats; otherwise nothing, and `tensor` gives its numbers.
  std::optional<io::BlockFormat> block_format_of(std::string_view name) const;
  /// Rows of blocks, u8 [out, row bytes], of a matrix of exactly `shape` [out, in] for which
  /// block_format_of gives a format.
  Tensor block_rows(std::string_view name, at::IntArrayRef shape) const;
  /// Stored shape without reading, empty optional when absent.
  std::optional<std::vector<int64_t>> shape_of(std::string_view name) const;

  /// Names that need not be used (old buffers); a regular expression over full names.
  void ignore(const std::string& pattern) const;
  /// The stored tensor of exactly `shape` and one of `types`, contiguous, as stored (no conversion,
  /// CPU). Otherwise it is recorded for `finish`, and the result is undefined.
  Tensor stored(std::string_view name,
                at::IntArrayRef shape,
                std::initializer_list<at::ScalarType> types) const;

  /// Set by loaders from config.json; read by Linear. Applies to the whole tree.
  void set_quantization(io::Quantization quantization) const;
  /// How config.json says that a Linear at this place is stored.
  io::LayerQuantization quantization() const;
  /// Whether the weight `name` at this place is int8 with `name`_scale [out, 1] beside it.
  bool is_int8_channel(std::string_view name) const;

  /// Throws CorruptFile listing what was missing or mis-shaped, and warns of unused names.
  void finish() const;

 private:
  struct Store;
  Weights(std::shared_ptr<Store> store, std::string path)
      : store_(std::move(store)), path_(std::move(path)) {}
  std::string full(std::string_view name) const;
  Tensor fetch(std::string_view name, at::IntArrayRef shape, const Init& init, bool widen) const;
  const io::TensorEntry* checked_entry(std::string_view name, at::IntArrayRef shape) const;
  Tensor dequantized(std::string_view name, const Tensor& stored) const;

  std::shared_ptr<Store> store_;
  std::string path_;
};

at::ScalarType scalar_type(io::DType dtype);
io::DType io_dtype(at::ScalarType type);
/// A tensor over an entry's memory; keeps the map alive. Not for training in place of a copy when
/// the entry is shared. Blocks come as their bytes, u8 [..., row bytes].
Tensor tensor_of(const io::TensorEntry& entry);

}  // namespace tessera::nn
