#!/usr/bin/env bash
# Compiles HLSL with Microsoft's compilers for DX12, run by Wine. tests/it/dx12.rs calls it.
#
#   tools/dx12/compile.sh FOLDER        FOLDER/fxc/*.hlsl with FXC and FOLDER/dxc/*.hlsl with DXC; fails if a file fails
#   tools/dx12/compile.sh --available   succeeds if that is possible here
#
# The libraries of the compilers come with the npm package `webgpu`. Wine's folder is .cache/wine.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
libraries=$root/web/node_modules/webgpu/dist/win32-x64
cc=x86_64-w64-mingw32-gcc
# Debian starts Wine's 64-bit program from this folder; /usr/bin/wine would ask for the 32-bit one.
wine=/usr/lib/wine/wine64
available() {
    [ -x $wine ] && command -v $cc >/dev/null && [ -e "$libraries/dxcompiler.dll" ] &&
        [ -e "$libraries/d3dcompiler_47.dll" ]
}
case "${1:-}" in
    --available) available; exit ;;
    "" | -*) echo "usage: tools/dx12/compile.sh FOLDER | --available" >&2; exit 2 ;;
esac
available || { echo "compile.sh: needs $wine, $cc and $libraries: tools/setup.sh --dev" >&2; exit 2; }

folder=$(realpath "$1")
mkdir -p "$root/.cache"
cp "$libraries"/{dxcompiler,d3dcompiler_47}.dll "$folder"
$cc -O1 -o "$folder/compile.exe" "$root/tools/dx12/compile.c"
export WINEPREFIX=$root/.cache/wine WINEDEBUG=-all
# Wine's own library of the name is another compiler. The empty names keep Wine from offering to install two others.
export WINEDLLOVERRIDES="d3dcompiler_47,dxcompiler=n;mscoree,mshtml="
[ -d "$WINEPREFIX" ] || $wine wineboot --init >/dev/null 2>&1

# Two of each compiler at a time, each for every second file: FXC takes a third of a second for a file.
jobs=()
for compiler in fxc dxc; do
    for half in 0 1; do
        find "$folder/$compiler" -name '*.hlsl' | sort | awk "NR % 2 == $half" | sed 's#/#\\#g; s#^#Z:#' \
            >"$folder/$compiler-$half.txt"
    done
done
cd "$folder"
status=0
for compiler in fxc dxc; do
    for half in 0 1; do
        $wine compile.exe $compiler <"$compiler-$half.txt" &
        jobs+=($!)
    done
    for job in "${jobs[@]}"; do wait "$job" || status=1; done
    jobs=()
done
exit $status
