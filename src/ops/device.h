// Devices by name. The CUDA side of libtorch is a library of its own that is opened here, on
// demand: one program runs with and without a GPU.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <string_view>

namespace tessera::ops {

/// "cpu", "cuda" or "cuda:1". For CUDA opens libtorch_cuda.so, which must happen before anything
/// asks libtorch about CUDA and before the first backward: call it at the start of a command.
/// Throws InvalidArgument for another name, Unsupported when the library, the driver or that GPU is
/// missing.
at::Device open_device(std::string_view name);

/// Bytes that can be had on a device: on the CPU without swapping, on a GPU of its memory. A huge
/// number where the system does not say.
int64_t free_memory(at::Device device);

/// A function of libtessera_cuda.so, which lies beside libtessera.so; null when that library is not
/// there (a build without the CUDA toolkit). Call open_device("cuda") first. Throws Io when the
/// library is there but cannot be opened.
void* cuda_function(const char* name);

}  // namespace tessera::ops
