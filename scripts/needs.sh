# For the other scripts, to be sourced.
#
#   needs PROGRAM PACKAGE   installs the system's package if the program is not there, or says in one line what to do

needs() {
    if [[ -n $(PATH=$PATH:$(echo /usr/lib/postgresql/*/bin | tr ' ' ':') command -v "$1") ]]; then
        return
    fi
    local as_root=()
    [[ $(id -u) == 0 ]] || as_root=(sudo -n)
    if ! { command -v apt-get && "${as_root[@]}" apt-get update -qq &&
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y "$2"; } \
        >/dev/null 2>&1; then
        echo "${0#"$PWD"/}: needs $1; install the system's package $2" >&2
        exit 1
    fi
}
