# Sourced by the commands beside this folder: sets $root and $python (3.11 or newer), or says what is missing.
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P) || exit 1
python=
for candidate in "${PYTHON:-}" python3.13 python3.12 python3.11 python3 python; do
    # Run, not only looked up: a name on the PATH may be an old Python or a shim without one behind it.
    if [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "Python 3.11 or newer is needed and was not found: install it, or set PYTHON=/path/to/python3" >&2
    exit 1
fi
