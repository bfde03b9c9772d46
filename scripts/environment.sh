# Sourced by the commands: makes .venv in the project's root when it is missing or out of date, and sets PYTHON.
# EXTRAS names the optional dependencies of pyproject.toml that the command needs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

find_python() {
    local name
    for name in python3.11 python3.12 python3.13 python3.14 python3; do
        if "$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
    echo "maskq needs Python 3.11 or newer with venv (Debian: apt install python3-venv)" >&2
    return 1
}

PYTHON="$PWD/.venv/bin/python"
stamp=".venv/installed-$EXTRAS"
if ! cat pyproject.toml constraints.txt | cmp --silent - "$stamp"; then
    [ -x "$PYTHON" ] || { echo "maskq: making .venv (once)" >&2; "$(find_python)" -m venv .venv; }
    echo "maskq: installing [$EXTRAS] into .venv; PyTorch is large, this takes a few minutes" >&2
    "$PYTHON" -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[$EXTRAS]"
    cat pyproject.toml constraints.txt >"$stamp"
fi
