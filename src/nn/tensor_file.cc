#include "nn/tensor_file.h"

#include "io/checkpoint.h"

namespace tessera::nn {

NamedTensors read_tensors(const io::fs::path& path) {
  NamedTensors tensors;
  const io::Checkpoint file = io::Checkpoint::open(path);
  for (const auto& [name, entry] : file.tensors()) {
    tensors[name] = tensor_of(entry).clone();
  }
  return tensors;
}

void write_tensors(const io::fs::path& path,
                   const NamedTensors& tensors,
                   const io::TensorMetadata& metadata) {
  std::vector<io::TensorView> list;
  std::vector<Tensor> keep;
  for (const auto& [name, tensor] : tensors) {
    const Tensor host = tensor.detach().cpu().contiguous();
    keep.push_back(host);
    list.push_back(
        {.name = name,
         .dtype = io_dtype(host.scalar_type()),
         .shape = host.sizes().vec(),
         .bytes = {static_cast<const std::byte*>(host.const_data_ptr()), host.nbytes()}});
  }
  io::write_safetensors(path, list, metadata);
}

}  // namespace tessera::nn
