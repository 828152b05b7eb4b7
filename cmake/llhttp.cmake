# llhttp: the system's package where there is one, else the C sources that
# Debian's node-llhttp package installs. Strict mode is not optional: without
# it a space before a field's colon passes.
find_path(LLHTTP_INCLUDE_DIR llhttp.h PATHS /usr/share/include/llhttp
          PATH_SUFFIXES llhttp REQUIRED)
find_path(LLHTTP_SOURCE_DIR llhttp.c PATHS /usr/share/llhttp REQUIRED
          NO_DEFAULT_PATH)
add_library(llhttp STATIC
    ${LLHTTP_SOURCE_DIR}/api.c
    ${LLHTTP_SOURCE_DIR}/http.c
    ${LLHTTP_SOURCE_DIR}/llhttp.c)
target_include_directories(llhttp SYSTEM PUBLIC ${LLHTTP_INCLUDE_DIR})
target_compile_definitions(llhttp PUBLIC LLHTTP_STRICT_MODE=1)
target_compile_options(llhttp PRIVATE -O2)
if(SIDGATE_SANITIZE)
    target_compile_options(llhttp PRIVATE -fsanitize=${SIDGATE_SANITIZE})
endif()
