#!/usr/bin/env bash
# Puts Prometheus and promtool into a folder of their own: install.sh FOLDER. Takes Debian's package (20 MB), installs nothing.
set -euo pipefail
prefix=$(realpath -m "$1")
mkdir -p "$prefix"
cd "$prefix"
test -n "$(find . -maxdepth 1 -name 'prometheus_*.deb')" || apt-get download prometheus
dpkg -x prometheus_*.deb .
usr/bin/prometheus --version 2>&1 | head -1
