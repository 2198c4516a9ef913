# The command-line program: links core, io, text and the catalog of models only, so that --help costs no libtorch.
file(GLOB cli_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/cli/*.cc)
add_executable(tessera_program ${cli_sources})
set_target_properties(tessera_program PROPERTIES OUTPUT_NAME tessera)
target_link_libraries(tessera_program PRIVATE tessera_catalog tessera_text CLI11::CLI11 ${CMAKE_DL_LIBS})
target_compile_definitions(tessera_program PRIVATE TESSERA_VERSION="${PROJECT_VERSION}")
