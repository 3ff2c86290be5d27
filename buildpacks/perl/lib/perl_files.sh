# Finds the files of a Perl tool. Sourced by bin/detect and bin/build.

# Programs that only Perl tools start
perl_programs='perl[0-9.]*|plackup|starman|hypnotoad|morbo|carton|[^[:space:]]+\.(pl|psgi)'

# Prints the PSGI application of the tool, or nothing. Dancer keeps it in bin, Catalyst at the top.
psgi_file() {
  local file
  for file in app.psgi *.psgi bin/app.psgi script/app.psgi bin/*.psgi script/*.psgi; do is_plain "$file" && echo "$file" && return; done
  return 0
}

# with_line PATTERN: prints the first program of the tool with a line that matches. Looks into app.pl first.
with_line() {
  local file
  for file in app.pl index.pl server.pl web.pl main.pl *.pl script/* bin/*; do
    if is_plain "$file" && has_line "$file" "$1"; then echo "$file" && return; fi
  done
  return 0
}

mojo_file() { with_line '^[[:space:]]*use Mojolicious::Lite|Mojolicious::Commands->start_app'; }
dancer_file() { with_line '^[[:space:]]*use Dancer2?([^A-Za-z0-9_:]|$)'; }
# Prints a program that reads PORT, so it probably listens on PORT by itself
port_file() { with_line '\$ENV\{["'\'']?PORT["'\'']?\}'; }

# Tells whether the source is a Perl tool
is_perl() {
  local file
  for file in cpanfile cpanfile.snapshot Build.PL .perl-version; do [[ -f $file ]] && return 0; done
  has_line Makefile.PL 'WriteMakefile|inc::Module::Install' && return 0
  has_line service.template '^type:[[:space:]]*["'\'']?perl' && return 0
  [[ -n $(psgi_file)$(mojo_file)$(dancer_file) ]] && return 0
  runs "$perl_programs" && return 0
  for file in cgi-bin/* public_html/cgi-bin/* public_html/*.pl public_html/*.cgi; do
    [[ -f $file && ( $file == *.pl || $(first_line "$file") == '#!'*perl* ) ]] && return 0
  done
  # If the source has a manifest of another language, files *.pl are only helpers of that tool.
  has_other_manifest cpanfile && return 1
  for file in *.pl; do return 0; done
  return 1
}
