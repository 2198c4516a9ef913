# The server apart from its engines (src/serve/tensor): free of libtorch, so that it is tested and fuzzed under
# the sanitizers. The page's files are compiled in.
find_package(Boost 1.81 REQUIRED)
file(GLOB serve_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/serve/*.cc)
file(GLOB_RECURSE web_files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/serve/web/*)
set(web_source ${CMAKE_BINARY_DIR}/serve/web_files.cc)
add_custom_command(OUTPUT ${web_source}
  COMMAND ${CMAKE_COMMAND} -DFOLDER=${CMAKE_SOURCE_DIR}/src/serve/web -DOUT=${web_source} -P ${CMAKE_SOURCE_DIR}/cmake/embed.cmake
  DEPENDS ${web_files} ${CMAKE_SOURCE_DIR}/cmake/embed.cmake VERBATIM)
add_library(tessera_serve STATIC ${serve_sources} ${web_source})
target_link_libraries(tessera_serve PUBLIC tessera_text Threads::Threads PRIVATE Boost::headers)
target_compile_definitions(tessera_serve PRIVATE BOOST_ERROR_CODE_HEADER_ONLY BOOST_ASIO_NO_DEPRECATED
  TESSERA_VERSION="${PROJECT_VERSION}")
# Boost's templates under the sanitizers: half the time of compiling.
target_compile_options(tessera_serve PRIVATE $<$<BOOL:${TESSERA_SANITIZE}>:-O0>)
tessera_precompile(tessera_serve)
