# Everything that needs libtorch: one static library with one precompiled header, wrapped as libtessera.so,
# which the program opens when a command needs it.
if(NOT TESSERA_LIBTORCH)
  set(cache $ENV{TESSERA_CACHE})
  if(NOT cache)
    set(cache $ENV{XDG_CACHE_HOME})
    if(NOT cache)
      set(cache $ENV{HOME}/.cache)
    endif()
    set(cache ${cache}/tessera)
  endif()
  set(TESSERA_LIBTORCH ${cache}/libtorch-2.11.0)
endif()
if(NOT EXISTS ${TESSERA_LIBTORCH}/lib/libtorch_cpu.so)
  message(FATAL_ERROR "libtorch not found in ${TESSERA_LIBTORCH}; run `make setup`, or pass -DTESSERA_LIBTORCH=FOLDER")
endif()

# Link libtorch_cpu and c10 only; the CUDA side is opened at run time. libtorch's include folder also holds
# other versions of fmt, protobuf and pybind11, hence -idirafter: Debian's come first.
add_library(tessera_torch INTERFACE)
target_compile_options(tessera_torch INTERFACE
  "SHELL:-idirafter ${TESSERA_LIBTORCH}/include"
  "SHELL:-idirafter ${TESSERA_LIBTORCH}/include/torch/csrc/api/include"
  -fopenmp)  # without it at::parallel_for silently runs on one thread
# libgomp comes from libtorch: the linker must not add the system's (two OpenMP pools in one process).
target_link_libraries(tessera_torch INTERFACE ${TESSERA_LIBTORCH}/lib/libtorch_cpu.so
  ${TESSERA_LIBTORCH}/lib/libc10.so ${TESSERA_LIBTORCH}/lib/libgomp.so.1)

set(tensor_sources)
foreach(room ops nn models pipelines train compress serve/tensor cli/tensor)
  file(GLOB_RECURSE found CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${room}/*.cc)
  list(APPEND tensor_sources ${found})
endforeach()
list(FILTER tensor_sources EXCLUDE REGEX "src/train/world/|/cuda/|src/models/(catalog|gguf).cc|src/cli/tensor/library.cc")
add_library(tessera_tensor STATIC ${tensor_sources})
target_link_libraries(tessera_tensor PUBLIC tessera_catalog tessera_world tessera_serve tessera_text tessera_torch PkgConfig::YAML edit)
target_precompile_headers(tessera_tensor PRIVATE <torch/nn/module.h>)

# CPU kernels: one object file an instruction set, chosen once at start-up (ops/cpu/dispatch.cc).
file(GLOB_RECURSE avx2 CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/ops/cpu/*_avx2.cc)
file(GLOB_RECURSE avx512 CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/ops/cpu/*_avx512.cc)
set_source_files_properties(${avx2} PROPERTIES COMPILE_OPTIONS "-mavx2;-mfma;-mf16c" SKIP_PRECOMPILE_HEADERS ON)
# GCC 12 warns of its own intrinsics headers.
set_source_files_properties(${avx512} PROPERTIES
  COMPILE_OPTIONS "-Wno-uninitialized;-Wno-maybe-uninitialized;-mavx512f;-mavx512bw;-mavx512dq;-mavx512vl;-mavx512vnni;-mfma;-mf16c" SKIP_PRECOMPILE_HEADERS ON)

add_library(libtessera SHARED ${CMAKE_SOURCE_DIR}/src/cli/tensor/library.cc)
target_link_libraries(libtessera PRIVATE -Wl,--whole-archive tessera_tensor -Wl,--no-whole-archive)
set_target_properties(libtessera PROPERTIES OUTPUT_NAME tessera BUILD_RPATH "${TESSERA_LIBTORCH}/lib" INSTALL_RPATH "$ORIGIN")

# Our CUDA side, opened when a GPU is used. libtorch_cuda.so is open by then, so that nothing of it is needed to link.
if(TESSERA_CUDA)
  find_package(CUDAToolkit 13 REQUIRED)
  set(CMAKE_CUDA_ARCHITECTURES 80 90)
  set(CMAKE_CUDA_COMPILER ${CUDAToolkit_NVCC_EXECUTABLE})
  enable_language(CUDA)
  file(GLOB_RECURSE cuda_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/*/cuda/*.cc)
  file(GLOB_RECURSE cuda_kernels CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/*/cuda/*.cu)
  # Kernels see plain pointers alone: nvcc takes neither our warnings nor libtorch's headers.
  add_library(tessera_kernels OBJECT ${cuda_kernels})
  target_include_directories(tessera_kernels PRIVATE ${CMAKE_SOURCE_DIR}/src)
  set_target_properties(tessera_kernels PROPERTIES CUDA_STANDARD 17 POSITION_INDEPENDENT_CODE ON)
  add_library(libtessera_cuda SHARED ${cuda_sources} $<TARGET_OBJECTS:tessera_kernels>)
  target_include_directories(libtessera_cuda SYSTEM PRIVATE ${CUDAToolkit_INCLUDE_DIRS})
  target_link_libraries(libtessera_cuda PRIVATE libtessera tessera_flags tessera_torch PkgConfig::YAML)
  target_link_options(libtessera_cuda PRIVATE -Wl,--unresolved-symbols=ignore-all)
  set_target_properties(libtessera_cuda PROPERTIES OUTPUT_NAME tessera_cuda BUILD_RPATH "$ORIGIN" INSTALL_RPATH "$ORIGIN")
endif()

# Programs against the public headers alone, as users write them.
add_executable(generate_example ${CMAKE_SOURCE_DIR}/examples/generate.cc)
target_include_directories(generate_example PRIVATE ${CMAKE_SOURCE_DIR}/include)
target_compile_options(generate_example PRIVATE -Wall -Wextra -Wshadow -Werror)
target_link_libraries(generate_example PRIVATE libtessera)
set_target_properties(generate_example PROPERTIES OUTPUT_NAME generate-example)
target_link_options(generate_example PRIVATE -Wl,-rpath-link,${TESSERA_LIBTORCH}/lib)
