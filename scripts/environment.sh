# The commands source this file: it makes .venv in the project's root if it is missing or out of date, and sets PYTHON.
# DEVELOPMENT=yes also installs what tests and checks need. INSTALL=no makes and installs nothing.
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

CLIENT_EXTRAS=cli # client/pyproject.toml

install() {
    local extras=$1
    [ -x "$PYTHON" ] || { echo "maskq: making .venv (once)" >&2; "$(find_python)" -m venv .venv; }
    echo "maskq: installing [$extras] into .venv; PyTorch is large, so this takes a few minutes" >&2
    "$PYTHON" -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
        --editable ".[$extras]" --editable "./client[$CLIENT_EXTRAS]"
}

# Two packages contain cv2. A tool of the tests requires opencv-python, which does not work without a display.
keep_headless_opencv() {
    "$PYTHON" -m pip uninstall --quiet --yes opencv-python
    "$PYTHON" -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
        --force-reinstall --no-deps opencv-python-headless
}

# A stamp is a copy of what was installed: the next command starts at once, and a changed version is installed.
is_installed() { cat pyproject.toml client/pyproject.toml constraints.txt | cmp --silent - ".venv/$1"; }
stamp() { cat pyproject.toml client/pyproject.toml constraints.txt >".venv/$1"; }

PYTHON="$PWD/.venv/bin/python"
if [ "${INSTALL:-yes}" = no ]; then
    :
elif [ "${DEVELOPMENT:-no}" = yes ]; then
    is_installed for-development ||
        { install api,worker,local,tracing,dev && keep_headless_opencv && stamp for-use && stamp for-development; }
else
    is_installed for-use || { install api,worker,local && stamp for-use; }
fi
