# Finds the files of a Ruby tool. Sourced by bin/detect and bin/build.

ruby_programs='ruby[0-9.]*|bundle|rackup|puma|unicorn|thin|rake|rails|bin/rails|[^[:space:]]+\.(rb|ru)'

# with_line PATTERN: prints the first Ruby program at the top with a line that matches
with_line() {
  local file
  for file in app.rb main.rb server.rb web.rb *.rb; do
    if is_plain "$file" && has_line "$file" "$1"; then echo "$file" && return; fi
  done
  return 0
}

# Prints a program that is a classic Sinatra application, or a modular one that starts itself
sinatra_file() { with_line "^[[:space:]]*require[[:space:]]+['\"]sinatra['\"]|^[[:space:]]*([A-Za-z:]+\.)?run!"; }
# Prints a program that reads PORT, so it probably listens on PORT by itself
port_file() { with_line "ENV(\.fetch\(|\[)['\"]PORT['\"]"; }

has_ruby_code() {
  local file
  for file in config.ru Rakefile bin/rails *.rb lib/*.rb app/*.rb bin/*.rb; do [[ -f $file ]] && return 0; done
  return 1
}

# Tells whether the source is a Ruby tool
is_ruby() {
  runs "$ruby_programs" && return 0
  [[ -f config.ru ]] && return 0
  has_line service.template '^type:[[:space:]]*["'\'']?ruby' && return 0
  if [[ -f Gemfile ]]; then
    if has_ruby_code || ! has_other_manifest Gemfile; then return 0; fi
    echo "note: Gemfile is not used, because there is no Ruby program"
    return 1
  fi
  has_other_manifest Gemfile && return 1
  for file in *.rb; do return 0; done
  return 1
}
