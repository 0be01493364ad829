#!/usr/bin/env bash
# Runs a program on drivers of Debian 13's Mesa.
#
#   tools/mesa.sh PROGRAM [ARGUMENT...]         a newer software driver, whose lavapipe has cooperative matrices
#   tools/mesa.sh --amd PROGRAM [ARGUMENT...]   Mesa 25.0.7: AMD's compiler without the card (`cargo xtask isa`), and
#                                               its lavapipe
#   CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER=tools/mesa.sh cargo test --test it cooperative
#
# Only for Debian and Ubuntu on x86-64. The drivers and their libraries, including the C library, are fetched from
# Debian 13 into .cache/mesa or .cache/mesa-amd and started with their own loader. Nothing is installed. apt checks
# the signatures with the keys of debian-archive-keyring.
set -euo pipefail
name=mesa release=trixie-backports drivers=(lvp)
if [ "${1:-}" = --amd ]; then
    # Mesa 26 no longer makes an AMD device without a card, so the version before it is taken.
    name=mesa-amd release=trixie drivers=(radeon lvp)
    shift
fi
[ $# -gt 0 ] || { echo "usage: tools/mesa.sh [--amd] PROGRAM [ARGUMENT...]" >&2; exit 2; }
folder=$(cd "$(dirname "$0")/.." && pwd)/.cache/$name
libraries=$folder/root/usr/lib/x86_64-linux-gnu
keys=/usr/share/keyrings/debian-archive-keyring.gpg

fetch() {
    local suite apt driver
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null && [ -e $keys ] &&
        [ "$(uname -m)" = x86_64 ] ||
        { echo "mesa.sh: needs apt-get, dpkg-deb and $keys on x86-64" >&2; return 1; }
    rm -rf "$folder"
    mkdir -p "$folder"/{lists/partial,cache/archives/partial,root}
    for suite in trixie trixie-security trixie-backports; do
        case $suite in
            *-security) echo "deb [signed-by=$keys] http://deb.debian.org/debian-security $suite main" ;;
            *) echo "deb [signed-by=$keys] http://deb.debian.org/debian $suite main" ;;
        esac
    done >"$folder/sources.list"
    # An empty list of installed packages makes apt fetch every dependency.
    : >"$folder/status"
    apt=(apt-get -qq -o Dir::Etc::SourceList="$folder/sources.list" -o Dir::Etc::SourceParts=-
        -o Dir::State::Lists="$folder/lists" -o Dir::State::Status="$folder/status"
        -o Dir::Cache="$folder/cache" -o APT::Sandbox::User=root -o Debug::NoLocking=1
        -o Acquire::Languages=none -o APT::Install-Recommends=false)
    "${apt[@]}" update >&2
    "${apt[@]}" install -y --download-only -t $release mesa-vulkan-drivers libvulkan1 >&2
    for package in "$folder"/cache/archives/*.deb; do dpkg-deb -x "$package" "$folder/root"; done
    rm -rf "$folder"/{lists,cache}
    for driver in "${drivers[@]}"; do
        sed -E "s#\"[^\"]*(libvulkan_$driver)#\"$libraries/\1#" \
            "$folder/root/usr/share/vulkan/icd.d/${driver}_icd.json" >"$folder/$driver.json"
    done
    touch "$folder/complete"
}

[ -e "$folder/complete" ] || fetch
printf -v files "$folder/%s.json:" "${drivers[@]}"
export VK_DRIVER_FILES=${files%:} VK_ICD_FILENAMES=${files%:}
exec "$folder/root/usr/lib64/ld-linux-x86-64.so.2" --library-path "$libraries" "$@"
