#!/usr/bin/env bash
# Compiles HLSL with Microsoft's compilers for DX12, run by Wine. tests/it/dx12.rs calls it.
#
#   tools/dx12/compile.sh FOLDER        FOLDER/fxc/*.hlsl with FXC and FOLDER/dxc/*.hlsl with DXC; fails if a file fails
#   tools/dx12/compile.sh --programs    succeeds if there are Wine and a compiler for Windows programs
#   tools/dx12/compile.sh --available   succeeds if there are also the compilers' libraries, and FOLDER works
#
# The libraries come with the npm package `webgpu`. Wine's folder is .cache/wine.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
libraries=$root/web/node_modules/webgpu/dist/win32-x64
cc=x86_64-w64-mingw32-gcc
# The 64-bit program. Debian does not link it into a folder of PATH.
wine=/usr/lib/wine/wine64
[ -x $wine ] || wine=$(command -v wine64) || wine=

programs() { [ -n "$wine" ] && command -v $cc >/dev/null; }
available() { programs && [ -e "$libraries/dxcompiler.dll" ] && [ -e "$libraries/d3dcompiler_47.dll" ]; }
case "${1:-}" in
    --programs) programs; exit ;;
    --available) available; exit ;;
    "" | -*) echo "usage: tools/dx12/compile.sh FOLDER | --programs | --available" >&2; exit 2 ;;
esac
available || { echo "compile.sh: needs wine64, $cc and $libraries: tools/setup.sh --dev" >&2; exit 2; }

folder=$(realpath "$1")
cp "$libraries"/{dxcompiler,d3dcompiler_47}.dll "$folder"
$cc -O1 -o "$folder/compile.exe" "$root/tools/dx12/compile.c"
unset DISPLAY WAYLAND_DISPLAY WINESERVER WINEDLLPATH WINELOADER
export WINEARCH=win64 WINEPREFIX=$root/.cache/wine WINEDEBUG=-all
# Wine's own library of the first name is another compiler. Without the others it offers no downloads and no menus.
export WINEDLLOVERRIDES="d3dcompiler_47,dxcompiler=n;mscoree,mshtml,winemenubuilder.exe="
if [ ! -e "$WINEPREFIX/ready" ]; then
    mkdir -p "$WINEPREFIX"
    "$wine" wineboot --init >"$folder/wineboot.log" 2>&1 || {
        cat "$folder/wineboot.log" >&2
        echo "compile.sh: Wine does not start. Remove $WINEPREFIX and try again" >&2
        exit 2
    }
    touch "$WINEPREFIX/ready"
fi

# Two of each compiler at a time, each for every second file: FXC takes a third of a second for a file.
cd "$folder"
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
status=0
for compiler in fxc dxc; do
    jobs=()
    for half in 0 1; do
        find "$folder/$compiler" -name '*.hlsl' | sort | awk "NR % 2 == $half" | sed 's#/#\\#g; s#^#Z:#' \
            >"$folder/$compiler-$half.txt"
        "$wine" compile.exe $compiler <"$compiler-$half.txt" &
        jobs+=($!)
    done
    for job in "${jobs[@]}"; do wait "$job" || status=1; done
done
exit $status
