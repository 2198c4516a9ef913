// Chooses the kernel table at the first use.
#include "ops/cpu/dispatch.h"

#include "core/error.h"

#include <cstdlib>

namespace tessera::ops::cpu {
namespace {

const Kernels& choose() {
  const char* forced = std::getenv("TESSERA_CPU_ISA");
  if (forced != nullptr && *forced != '\0') {
    for (const Isa isa : {Isa::kPortable, Isa::kAvx2, Isa::kAvx512}) {
      if (isa_name(isa) == forced) {
        const Kernels* table = kernels_of(isa);
        TESSERA_CHECK(table != nullptr, InvalidArgument,
                      "TESSERA_CPU_ISA={}: this processor lacks it", forced);
        return *table;
      }
    }
    throw InvalidArgument("TESSERA_CPU_ISA={}: expected portable, avx2 or avx512", forced);
  }
  for (const Isa isa : {Isa::kAvx512, Isa::kAvx2}) {
    if (const Kernels* table = kernels_of(isa)) {
      return *table;
    }
  }
  return kPortableKernels;
}

}  // namespace

std::string_view isa_name(Isa isa) {
  switch (isa) {
    case Isa::kPortable:
      return "portable";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512:
      return "avx512";
  }
  return "unknown";
}

const Kernels* kernels_of(Isa isa) {
  switch (isa) {
    case Isa::kPortable:
      return &kPortableKernels;
    case Isa::kAvx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                     __builtin_cpu_supports("f16c")
                 ? &kAvx2Kernels
                 : nullptr;
    case Isa::kAvx512:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                     __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                     __builtin_cpu_supports("avx512vnni")
                 ? &kAvx512Kernels
                 : nullptr;
  }
  return nullptr;
}

const Kernels& kernels() {
  static const Kernels& table = choose();
  return table;
}

}  // namespace tessera::ops::cpu
