#!/bin/sh
# Installs the system packages that hwkm needs, when they are missing, on Debian 12 or later and
# Ubuntu 24.04 or later. `make` and the Vagrantfile both call it.
#
#   provision.sh [--check] [run|test]
#
# run   what `make demo` and the daemon need (default)
# test  the same, and what `make check` and `make test` need
#
# --check installs nothing: it prints each missing package on a line of its own, and exits 1
# when there is one. Package presence is read from dpkg, so when nothing is missing this ends
# within a tenth of a second and neither the network nor root is needed.
#
# Exit codes: 0 done, 1 something is missing, 2 wrong usage.
set -eu

# One requirement a word: alternatives are separated by "|" (a package that changed its name),
# and a trailing "?" marks one that some supported releases do not have.
run_packages='
    python3 python3-venv python3-dev build-essential pkg-config libffi-dev
    softhsm2 swtpm swtpm-tools tpm2-tools
    libtss2-dev libtss2-tcti-swtpm0|libtss2-tcti-swtpm0t64 libseccomp2'
test_packages='git shellcheck spin systemd postgresql vagrant? curl jq xxd rclone'

say() { printf '%s\n' "provision: $*" >&2; }

installed() {
    [ "$(dpkg-query --show --showformat '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# Does a package of this name exist in the package lists that apt has now?
available() {
    LC_ALL=C apt-cache policy "$1" 2>/dev/null | grep -q '^  Candidate: [^(]'
}

any_installed() {
    for name in $(printf '%s' "${1%\?}" | tr '|' ' '); do
        if installed "$name"; then return 0; fi
    done
    return 1
}

# Print the first alternative that apt can install; the first of all when none can.
pick() {
    alternatives=$(printf '%s' "${1%\?}" | tr '|' ' ')
    for name in $alternatives; do
        if available "$name"; then
            printf '%s\n' "$name"
            return 0
        fi
    done
    case $1 in
    *\?) return 0 ;;
    esac
    printf '%s\n' "${alternatives%% *}"
}

# Requirements of which no alternative is installed, as written above.
missing_requirements() {
    for requirement in "$@"; do
        any_installed "$requirement" || printf '%s\n' "$requirement"
    done
}

packages_to_install() {
    for requirement in "$@"; do pick "$requirement"; done
}

# For a machine whose apt has no package lists yet.
usual_names() {
    for requirement in "$@"; do
        requirement=${requirement%\?}
        printf '%s\n' "${requirement%%|*}"
    done
}

package_lists_present() {
    available dpkg && [ -n "$(LC_ALL=C apt-cache search --names-only '^softhsm2$' 2>/dev/null)" ]
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif [ -t 0 ]; then
        sudo "$@"
    else
        sudo -n "$@"
    fi
}

apt_get() {
    as_root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=a APT_LISTCHANGES_FRONTEND=none \
        apt-get -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3 -q "$@" </dev/null >&2
}

can_become_root() {
    [ "$(id -u)" -eq 0 ] && return 0
    command -v sudo >/dev/null 2>&1 || return 1
    [ -t 0 ] || sudo -n true 2>/dev/null
}

explain_by_hand() {
    say "these packages are missing and I can neither act as root nor use sudo. As root, run:"
    say "    apt-get update && apt-get install --no-install-recommends $*"
}

main() {
    check=no
    profile=run
    for argument in "$@"; do
        case $argument in
        --check) check=yes ;;
        run | test) profile=$argument ;;
        *)
            say "usage: provision.sh [--check] [run|test]"
            return 2
            ;;
        esac
    done

    if ! command -v dpkg-query >/dev/null 2>&1; then
        say "this is no Debian or Ubuntu; install by hand: SoftHSM2, swtpm, tpm2-tools, tpm2-tss with"
        say "its headers and its swtpm TCTI, libseccomp, pkg-config, a C compiler, Python 3.11 or later"
        return 0
    fi

    wanted=$run_packages
    [ "$profile" = run ] || wanted="$wanted $test_packages"
    # shellcheck disable=SC2086 # the lists are words on purpose
    missing=$(missing_requirements $wanted)
    [ -n "$missing" ] || return 0

    # shellcheck disable=SC2086
    names=$(if package_lists_present; then packages_to_install $missing; else usual_names $missing; fi)
    [ -n "$names" ] || return 0 # missing is only what this release does not have

    if [ "$check" = yes ]; then
        printf '%s\n' "$names"
        return 1
    fi
    if ! can_become_root; then
        # shellcheck disable=SC2086
        explain_by_hand $names
        return 1
    fi

    apt_get update
    # shellcheck disable=SC2086
    names=$(packages_to_install $missing)
    [ -n "$names" ] || return 0
    # shellcheck disable=SC2086
    say "installing:" $names
    # shellcheck disable=SC2086
    apt_get install --yes --no-install-recommends $names
}

main "$@"
