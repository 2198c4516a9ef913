// What the tensor commands share: device and dtype by name, threads, files of named tensors.
#pragma once

#include "cli/commands.h"
#include "io/file.h"
#include "nn/module.h"

#include <ATen/core/Tensor.h>

#include <string>

namespace tessera::cli {

/// Sets libtorch's threads (0 = physical cores) and checks the device.
nn::LoadOptions prepare(const CommonOptions& options);

/// Reads every tensor of a safetensors (or other checkpoint) file.
nn::NamedTensors read_tensors(const io::fs::path& path);
/// Writes safetensors.
void write_tensors(const io::fs::path& path, const nn::NamedTensors& tensors);

/// Runs `body`; libtorch's errors leave as our own, without their backtrace.
void translate_torch_errors(const std::function<void()>& body);

}  // namespace tessera::cli
