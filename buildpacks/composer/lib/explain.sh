# Turns the output of Composer into lines of the push. Sourced by bin/build.

# show: indents what Composer prints, without the list of its options. Rewrites the warning about an old composer.lock.
show() {
  sed -u -E -e '/^[a-z-]+ \[--/d' -e 's/^Warning: The lock file is not up to date with.*/ !     composer.lock does not match composer.json. Run composer update --lock, and commit composer.lock./; t' \
    -e 's/^/       /'
}

# explain FILE: ends the build with the cause that Composer printed to the file, in one sentence
explain() {
  awk '
    { sub(/[ \t\r]+$/, "") }
    /Required package "[^"]*" is not present in the lock file/ && !cause {
      split($0, part, "\""); cause = "composer.lock lacks " part[2] ", which composer.json requires. Run composer update " part[2] " and commit composer.lock"
    }
    /Required package "[^"]*" is in the lock file as/ && !cause {
      split($0, part, "\""); cause = "composer.lock has " part[2] " " part[4] ", but composer.json requires " part[6] ". Run composer update " part[2] " and commit composer.lock"
    }
    /curl error [0-9]+ while downloading/ && !cause {
      sub(/.*curl error [0-9]+ while downloading /, ""); cause = "Composer cannot download " $0
    }
    # The line after the number of a problem says what the problem is.
    in_problem && /^ *- / && !cause { sub(/^ *- /, ""); cause = $0 }
    { in_problem = /^ *Problem [0-9]+$/ }
    /Script .* handling the .* event returned with error code [0-9]+/ && !cause {
      said = $0; sub(/Script .* handling the .*/, "", said); sub(/^ +/, "", said)
      match($0, /handling the [^ ]+ event/); event = substr($0, RSTART + 13, RLENGTH - 19)
      cause = "the script " event " of composer.json failed: " (said == "" ? before : said)
    }
    # The text of an exception follows an empty line.
    in_exception && /[^ ]/ && !cause { sub(/^ +/, ""); cause = $0 }
    /^In .*\.php line [0-9]+:$/ { in_exception = 1 }
    /[^ ]/ && !/^[a-z-]+ \[--/ { before = $0; sub(/^ +/, "", before) }
    END { sub(/[. ]+$/, "", cause); print " !     " (cause ? cause : before) "." }' "$1"
  exit 1
}
