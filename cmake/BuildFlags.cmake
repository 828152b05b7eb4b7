# One INTERFACE target carries every compiler and linker flag.
add_library(sidgate_flags INTERFACE)
target_include_directories(sidgate_flags INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_definitions(sidgate_flags INTERFACE _GNU_SOURCE)
target_compile_options(sidgate_flags INTERFACE
    -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes
    -Wmissing-prototypes -Wpointer-arith -Wcast-qual -Wwrite-strings
    -Wformat=2 -Wundef -Wvla -Wimplicit-fallthrough -Wconversion
    -Wno-sign-conversion -fno-common
    $<$<BOOL:${SIDGATE_WERROR}>:-Werror>
    $<$<NOT:$<CONFIG:Debug>>:-fstack-protector-strong>)

# gcc's link-time optimiser imagines negative lengths where none can be.
if(CMAKE_INTERPROCEDURAL_OPTIMIZATION AND CMAKE_C_COMPILER_ID STREQUAL "GNU")
    target_link_options(sidgate_flags INTERFACE -Wno-stringop-overread)
endif()

if(SIDGATE_SANITIZE)
    target_compile_options(sidgate_flags INTERFACE
        -fsanitize=${SIDGATE_SANITIZE} -fno-sanitize-recover=undefined
        -fno-omit-frame-pointer)
    target_link_options(sidgate_flags INTERFACE
        -fsanitize=${SIDGATE_SANITIZE})
endif()
if(SIDGATE_FUZZ)
    target_compile_options(sidgate_flags INTERFACE
        -fsanitize=fuzzer-no-link)
endif()
