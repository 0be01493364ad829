#!/usr/bin/env bash
# Runs a program on the software driver of a newer Mesa, whose lavapipe has cooperative matrices.
#
#   tools/mesa.sh PROGRAM [ARGUMENT...]
#   CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER=tools/mesa.sh cargo test --test it cooperative
#
# Only for Debian and Ubuntu on x86-64. The driver and its libraries, including the C library, are fetched from
# Debian 13 into .cache/mesa and started with their own loader. Nothing is installed. apt checks the signatures
# with the keys of debian-archive-keyring.
set -euo pipefail
[ $# -gt 0 ] || { echo "usage: tools/mesa.sh PROGRAM [ARGUMENT...]" >&2; exit 2; }
folder=$(cd "$(dirname "$0")/.." && pwd)/.cache/mesa
libraries=$folder/root/usr/lib/x86_64-linux-gnu
keys=/usr/share/keyrings/debian-archive-keyring.gpg

fetch() {
    local suite apt
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
    "${apt[@]}" install -y --download-only -t trixie-backports mesa-vulkan-drivers >&2
    for package in "$folder"/cache/archives/*.deb; do dpkg-deb -x "$package" "$folder/root"; done
    rm -rf "$folder"/{lists,cache}
    sed "s#\"libvulkan_lvp#\"$libraries/libvulkan_lvp#" \
        "$folder/root/usr/share/vulkan/icd.d/lvp_icd.json" >"$folder/driver.json"
}

# This file is written last.
[ -e "$folder/driver.json" ] || fetch
export VK_DRIVER_FILES=$folder/driver.json VK_ICD_FILENAMES=$folder/driver.json
exec "$folder/root/usr/lib64/ld-linux-x86-64.so.2" --library-path "$libraries" "$@"
