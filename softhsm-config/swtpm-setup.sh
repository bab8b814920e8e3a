#!/bin/sh
# Make the state directory of a software TPM 2.0 (swtpm), or run one on it.
#
#   swtpm-setup.sh DIR        make DIR (once) and print the TPM's URI
#   swtpm-setup.sh DIR run    the same, then become swtpm, in the foreground, until it is killed
#
# Afterwards DIR holds
#   state/     the TPM's non-volatile memory: whoever copies it has copied the TPM
#   pin        a random PIN for hwkm, mode 0600
#   uri        what was printed
# and, while swtpm runs, the sockets tpm.sock and tpm.sock.ctrl. One client at a time.
set -eu
umask 077

SOCKET_PATH_BYTES_MAX=107 # sun_path of unix(7), less the final zero

die() {
    echo "swtpm-setup.sh: $*" >&2
    exit 1
}

random_hex() { # number of bytes
    od -An -v -N "$1" -tx1 /dev/urandom | tr -d ' \n'
}

{ [ $# -eq 1 ] || { [ $# -eq 2 ] && [ "$2" = run ]; }; } || die "usage: swtpm-setup.sh DIR [run]"
command -v swtpm >/dev/null || die "swtpm is not installed (Debian: apt-get install swtpm)"

mkdir -p "$1"
dir=$(cd "$1" && pwd)
socket=$dir/tpm.sock
[ $((${#socket} + 5)) -le "$SOCKET_PATH_BYTES_MAX" ] || die "$dir is too long a path for a Unix socket"
case $dir in *[!A-Za-z0-9/._-]*) die "$dir has characters that do not fit in a URI" ;; esac

mkdir -p "$dir/state"
[ -e "$dir/pin" ] || random_hex 32 >"$dir/pin"
echo "tpm:tcti=swtpm:path=$socket" >"$dir/uri"
cat "$dir/uri"

if [ $# -eq 2 ]; then
    rm -f "$socket" "$socket.ctrl"
    # not-need-init, startup-clear: what a firmware does at power-on.
    exec swtpm socket --tpm2 --tpmstate "dir=$dir/state,mode=0600" \
        --server "type=unixio,path=$socket,mode=0600" \
        --ctrl "type=unixio,path=$socket.ctrl,mode=0600" \
        --flags not-need-init,startup-clear
fi
