# Makes a layer from Debian packages, changed so that they work in the layer's folder instead of /. Sourced by
# bin/build.

triplet=$(uname -m)-linux-gnu

# Unpacks the packages that $work/plan lists into an empty layer. Links to files of the layer become relative, so that
# the layer can be copied.
make_layer() {
  rm -rf "$layer"
  mkdir -p "$layer" "$work/links"
  awk -v folder="$state/archives" '{ print folder "/" $2 }' "$work/plan" |
    xargs -r -d '\n' -n 1 -P "$(nproc)" bash "$CNB_BUILDPACK_DIR/lib/unpack.sh" "$layer" "$work/links"
  # Deletes documentation, which tools do not need, but keeps the copyright files.
  rm -rf "$layer"/usr/share/{man,info,lintian,bug,locale} "$layer"/var
  [[ -d $layer/usr/share/doc ]] && find "$layer/usr/share/doc" ! -type d ! -name copyright -delete
  link_alternatives
  link_within
  link_to_machine
  relocate_pkgconfig
  list_graphviz_plugins
}

# dpkg -x runs no maintainer script, so the links of update-alternatives are made here, the highest priority first.
link_alternatives() {
  local priority link path
  while IFS=$'\t' read -r priority link path; do
    [[ -e $layer$path && ! -e $layer$link && ! -L $layer$link && $link != */share/man/* ]] || continue
    mkdir -p "$layer${link%/*}"
    ln -s "$path" "$layer$link"
  done < <(find "$work/links" -type f -exec cat {} + | LC_ALL=C sort -s -k 1,1nr)
}

# A link of a package may lead to a file that is not in the layer, because the machine already has its package:
# libmariadb.so of libmariadb-dev leads to libmariadb.so.3 of libmariadb3. Lets such links lead to the machine's file.
# Otherwise a linker would take the static library, without the libraries that it needs.
link_to_machine() {
  local link target there
  while IFS= read -r -d '' link; do
    target=$(readlink "$link") there=${link#"$layer"} there=${there%/*}/$target
    [[ $target == /* || ! -e $there ]] || ln -sfn "$there" "$link"
  done < <(find "$layer" -xtype l -print0)
}

# Makes absolute links relative if their target is in the layer.
link_within() {
  local link target inner ups
  while IFS= read -r -d '' link; do
    target=$(readlink "$link")
    [[ -e $layer$target || -L $layer$target ]] || continue
    inner=${link#"$layer"/}
    ups=${inner//[!\/]/}
    ln -sfn "${ups//\//../}${target#/}" "$link"
  done < <(find "$layer" -type l -lname '/*' -print0)
}

# Replaces /usr in .pc files by the layer's folder usr, as a path relative to the .pc file.
relocate_pkgconfig() {
  local file inner ups
  while IFS= read -r -d '' file; do
    inner=${file#"$layer"/}
    ups=${inner//[!\/]/}
    sed -i -E "s#([=[:space:]]|-[IL])/usr(/|\$)#\1\${pcfiledir}/${ups//\//../}usr\2#g" "$file"
  done < <(find "$layer" -name '*.pc' -type f -print0)
}

# join VARIABLE KIND PATH…: puts the existing paths in front of the variable. KIND is env, env.build or env.launch.
join() {
  local variable=$1 kind=$2 path text=''
  shift 2
  for path in "$@"; do [[ -e $path ]] && text+=${text:+:}$path; done
  [[ -n $text ]] || return 0
  mkdir -p "$layer/$kind"
  printf %s "$text" >"$layer/$kind/$variable.prepend"
  printf : >"$layer/$kind/$variable.delim"
}

# point VARIABLE PATH…: sets the variable to the last existing path, unless it is already set
point() {
  local variable=$1 path found=''
  shift
  for path in "$@"; do [[ -e $path ]] && found=$path; done
  [[ -n $found ]] || return 0
  mkdir -p "$layer/env"
  printf %s "$found" >"$layer/env/$variable.default"
}

# Sets the variables that name folders of the layer, for the tool and later buildpacks. Each build writes them again,
# because the layer can be in another folder than in the last build.
write_environment() {
  local usr=$layer/usr lib=$layer/usr/lib/$triplet folders=() line file java=''
  rm -rf "$layer"/env "$layer"/env.build "$layer"/env.launch
  for file in "$layer"/etc/ld.so.conf.d/*.conf; do
    [[ -f $file ]] && while IFS= read -r line; do [[ $line == /* ]] && folders+=("$layer$line"); done <"$file"
  done
  for file in "$usr"/lib/jvm/java-*-openjdk-*; do [[ -x $file/bin/java ]] && java=$file; done
  shopt -s nullglob
  join PATH env "$usr/bin" "$usr/sbin" "$usr/games" "$layer/sbin" ${java:+"$java/bin"}
  join LD_LIBRARY_PATH env "$lib" "$usr/lib" "$layer/lib/$triplet" "$lib/pulseaudio" "${folders[@]}"
  join LIBRARY_PATH env.build "$lib" "$usr/lib" "$layer/lib/$triplet"
  join CPATH env.build "$usr/include" "$usr/include/$triplet"
  join PKG_CONFIG_PATH env.build "$lib/pkgconfig" "$usr/share/pkgconfig" "$usr/lib/pkgconfig"
  join PERL5LIB env "$usr/share/perl5" "$lib"/perl5/5.* "$lib"/perl/5.* "$usr"/share/perl/5.*
  join RUBYLIB env "$usr/lib/ruby/vendor_ruby" "$lib"/ruby/vendor_ruby/[0-9]* "$usr"/lib/ruby/vendor_ruby/[0-9]*
  join GEM_PATH env "$usr"/share/rubygems-integration/* "$lib"/rubygems-integration/*
  # Add a colon at the end, which stands for the folders of the system.
  if [[ -f $layer/env/GEM_PATH.prepend ]]; then printf : >>"$layer/env/GEM_PATH.prepend"; fi
  join GI_TYPELIB_PATH env "$lib/girepository-1.0"
  join GST_PLUGIN_PATH env "$lib/gstreamer-1.0"
  join GS_LIB env "$usr"/share/ghostscript/*/Resource/Init "$usr"/share/ghostscript/*/lib "$usr"/share/ghostscript/*/Resource/Font "$usr"/share/ghostscript/*/iccprofiles
  join MAGICK_CONFIGURE_PATH env "$layer"/etc/ImageMagick-* "$lib"/ImageMagick-*/config-* "$usr"/share/ImageMagick-*
  point MAGICK_CODER_MODULE_PATH "$lib"/ImageMagick-*/modules-*/coders
  point MAGICK_CODER_FILTER_PATH "$lib"/ImageMagick-*/modules-*/filters
  point TESSDATA_PREFIX "$usr"/share/tesseract-ocr/*/tessdata
  point FIGLET_FONTDIR "$usr/share/figlet"
  [[ -n $java ]] && point JAVA_HOME "$java"
  # XDG_DATA_DIRS is for fonts and icons. If it is not set, programs use /usr/local/share and /usr/share. So the
  # variable must name these two folders too.
  join XDG_DATA_DIRS env "$usr/share"
  [[ -f $layer/env/XDG_DATA_DIRS.prepend ]] && printf /usr/local/share:/usr/share >"$layer/env/XDG_DATA_DIRS.default"
  [[ -f /etc/fonts/fonts.conf ]] || point FONTCONFIG_PATH "$layer/etc/fonts"
  [[ -f $lib/graphviz/config6a ]] && point GVBINDIR "$lib/graphviz"
  list_pixbuf_loaders
  shopt -u nullglob
}

# Writes the list of gdk-pixbuf's image loaders, with absolute paths, as a maintainer script would do.
list_pixbuf_loaders() {
  local lister cache loaders
  loaders=("$layer/usr/lib/$triplet"/gdk-pixbuf-2.0/*/loaders/*.so)
  [[ ${#loaders[@]} -gt 0 ]] || return 0
  loaders+=(/usr/lib/"$triplet"/gdk-pixbuf-2.0/*/loaders/*.so)
  cache=$(dirname "$(dirname "${loaders[0]}")")/loaders.cache
  for lister in {"$layer",}/usr/lib/"$triplet"/gdk-pixbuf-2.0/gdk-pixbuf-query-loaders; do
    grep -qsF "\"$layer/" "$cache" && break
    [[ -x $lister ]] && with_libraries "$lister" "${loaders[@]}" >"$cache" 2>/dev/null
  done
  grep -qsF "\"$layer/" "$cache" && point GDK_PIXBUF_MODULE_FILE "$cache"
  return 0
}

# Writes the list of Graphviz plugins, with names only, as a maintainer script would do
list_graphviz_plugins() {
  local folder=$layer/usr/lib/$triplet/graphviz
  [[ -x $layer/usr/bin/dot && -d $folder ]] || return 0
  GVBINDIR=$folder with_libraries "$layer/usr/bin/dot" -c >/dev/null 2>&1 || true
}

# with_libraries PROGRAM ARGUMENT…: runs a program of the layer with the libraries of the layer
with_libraries() { LD_LIBRARY_PATH=$layer/usr/lib/$triplet:$layer/usr/lib:$layer/lib/$triplet "$@"; }
