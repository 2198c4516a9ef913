// Engines over the pipelines: what a device thread drives.
#pragma once

#include "nn/module.h"
#include "serve/device_queue.h"

#include <memory>
#include <string>

namespace tessera::serve {

/// Of a text model.
struct EngineLimits {
  int64_t requests = 64;     // that run together
  int64_t cache_tokens = 0;  // whose keys and values are kept; 0: see pipelines::BatchOptions
};

/// Opens a folder: with any_to_any.json conversations over media (pipelines::AnyToAny), else a
/// language model that continues text and, with a chat template, answers conversations
/// (pipelines::TextBatcher). `name` is what clients call it; empty: the folder's name. Throws what
/// these throw.
std::unique_ptr<Engine> open_engine(const std::string& model,
                                    const std::string& name,
                                    const nn::LoadOptions& load,
                                    const EngineLimits& limits = {});

}  // namespace tessera::serve
