// Engines over the pipelines: what a device thread drives.
#pragma once

#include "nn/module.h"
#include "serve/device_queue.h"

#include <memory>
#include <string>

namespace tessera::serve {

/// Opens a folder: with any_to_any.json conversations over media (pipelines::AnyToAny), else a
/// language model that continues text (pipelines::TextCompleter). `name` is what clients call it;
/// empty: the folder's name. Throws what these throw.
std::unique_ptr<Engine> open_engine(const std::string& model,
                                    const std::string& name,
                                    const nn::LoadOptions& load);

}  // namespace tessera::serve
