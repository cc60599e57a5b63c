# shellcheck shell=bash
# Sourced: `newcomer` is the start of a command line that runs the rest as somebody new does, with nothing in the
# environment but PATH and what pip may need to reach its index. Give HOME with it: "${newcomer[@]}" HOME=… command
newcomer=(env -i "PATH=$PATH")
for name in $(compgen -e); do
  [[ $name =~ ^(PIP_.*|SSL_CERT_.*|REQUESTS_CA_BUNDLE|.*_proxy|.*_PROXY)$ ]] && newcomer+=("$name=${!name}")
done
# pip's file of the one who runs this is out of sight from another HOME
for file in "${XDG_CONFIG_HOME:-${HOME-}/.config}/pip/pip.conf" "${HOME-}/.pip/pip.conf"; do
  [ -z "${PIP_CONFIG_FILE-}" ] && [ -r "$file" ] && newcomer+=("PIP_CONFIG_FILE=$file")
done
unset name file
