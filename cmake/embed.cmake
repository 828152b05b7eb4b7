# Writes files as a C source: cmake -DOUT=x.c -DFILES=a;b -P embed.cmake
#
# Byte arrays, since string literals of that length are beyond C11, and
# .incbin does not go well with link-time optimisation.

set(text "/* Made from the files of gateway/ui. */\n#include \"gateway/admin_page.h\"\n\n")
set(table "")
set(index 0)
foreach(file IN LISTS FILES)
    get_filename_component(name "${file}" NAME)
    file(SHA256 "${file}" digest)
    string(SUBSTRING "${digest}" 0 32 digest)
    file(READ "${file}" bytes HEX)
    string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
    string(REGEX REPLACE
        "(0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,)"
        "\\1\n" bytes "${bytes}")
    # An empty array is none of C's.
    string(APPEND text
        "static const unsigned char file_${index}[] = {\n${bytes}0};\n\n")
    string(APPEND table
        "    {\"${name}\", \"\\\"${digest}\\\"\", file_${index},\n"
        "     sizeof(file_${index}) - 1},\n")
    math(EXPR index "${index} + 1")
endforeach()
string(APPEND text
    "const struct gw_admin_file gw_admin_files[] = {\n${table}    {NULL, NULL, NULL, 0},\n};\n")

file(WRITE "${OUT}" "${text}")
