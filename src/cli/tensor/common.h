// What the tensor commands share: device and dtype by name, threads, errors.
#pragma once

#include "cli/commands.h"
#include "nn/module.h"

#include <functional>

namespace tessera::cli {

/// Sets libtorch's threads (0 = physical cores) and checks the device.
nn::LoadOptions prepare(const CommonOptions& options);

/// `prompts`, then the lines of `file` (empty: none) that are not blank.
std::vector<std::string> read_prompts(std::vector<std::string> prompts, const std::string& file);

/// Runs `body`; libtorch's errors leave as our own, without their backtrace.
void translate_torch_errors(const std::function<void()>& body);

}  // namespace tessera::cli
