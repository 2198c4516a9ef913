// The report of `bench any2any` as one self-contained page: targets, figures with their intervals,
// examples to look at and listen to.
#pragma once

#include "train/any2any/results.h"

#include <string>

namespace tessera::any2any {

/// At most 8 MB: examples that no longer fit are named but left out.
std::string render_page(const Result& result);

}  // namespace tessera::any2any
