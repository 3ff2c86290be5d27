# Compares the Ruby that a tool asks for with this one. Reads the files of the tool and runs none of them.
#
# Prints lines KEY<TAB>VALUE: `found`, what the push shows; `detail`, a sentence; `error`, why the tool cannot be built.
# With the argument `settle`, exact versions such as 3.3.1 in the files become this Ruby's, if the first two numbers are
# equal. Bundler would refuse every other Ruby, although later ones only have fixes.

def text(file) = File.file?(file) ? File.binread(file).force_encoding("UTF-8").scrub.delete_prefix("\uFEFF") : nil

# What a file asks for. `range` is a list such as [">= 3.1", "< 4"].
Wanted = Struct.new(:place, :file, :range)

def from_gemfile
  (text("Gemfile") || "").each_line.with_index(1) do |line, number|
    next unless line =~ /^\s*ruby[\s(]+(.*)/
    rest = $1.sub(/\s#.*/, "")
    place = "Gemfile line #{number}"
    abort "error\t#{place} asks for #{$1}, which is not available here: this server has only the usual Ruby." if rest =~ /engine:?\s*(?:=>)?\s*["'](?!ruby["'])(\w+)/
    other = rest[/["']([^"']*(?:ruby-version|tool-versions)[^"']*)["']/, 1]
    return from_version_file(other) if other
    range = rest.sub(/,?\s*\w+:.*|,?\s*:\w+\s*=>.*/, "").scan(/["']([^"']+)["']/).flatten
    return Wanted.new(place, "Gemfile", range) unless range.empty?
  end
  nil
end

def from_version_file(file)
  content = text(file) or return nil
  pattern = file.end_with?(".tool-versions") ? /^\s*ruby\s+(\S+)/ : /^\s*(?!#)(\S+)/
  word = content[pattern, 1] or return nil
  Wanted.new(file, file, [word.delete_prefix("ruby-").delete_suffix("-p0")])
end

def from_lock_file
  word = (text("Gemfile.lock") || "")[/^RUBY VERSION\n\s+ruby (\d[\d.]*)/, 1]
  word && Wanted.new("Gemfile.lock", "Gemfile.lock", [word])
end

wanted = from_gemfile || from_version_file(".ruby-version") || from_version_file(".tool-versions") || from_lock_file
here = RUBY_VERSION
minor = here[/\A\d+\.\d+/]
if wanted.nil?
  puts "found\truby"
  exit
end
words = wanted.range.join(", ")
puts "found\truby #{words} (#{wanted.file})"
begin
  exact = wanted.range.first[/\A=?\s*(\d+\.\d+(?:\.\d+)?)(?:[-.]?p\d+)?\z/, 1]
  fits = exact ? exact[/\A\d+\.\d+/] == minor : Gem::Requirement.new(*wanted.range).satisfied_by?(Gem::Version.new(here))
rescue ArgumentError
  puts "error\t#{wanted.place} is not a version of Ruby: “#{words}”. Write a version such as #{minor}."
  exit
end
if !fits
  change = wanted.file == "Gemfile" ? "write ruby \"~> #{minor}\" there" : "write #{minor} into #{wanted.file}"
  change = "write ruby \"~> #{minor}\" into the Gemfile" if wanted.file == "Gemfile.lock"
  puts "error\t#{wanted.place} asks for Ruby #{words}, but this server has only Ruby #{minor}: #{change}, #{File.file?("Gemfile") ? "run `bundle update --ruby`, and commit both files" : "if your code also runs on it, and commit the file"}."
elsif exact && exact != here
  puts "detail\t#{wanted.place} asks for Ruby #{words}. #{here} is used, which has the same features and other fixes"
  if ARGV.first == "settle"
    [wanted.file, ".ruby-version"].uniq.each do |file|
      next if file == "Gemfile.lock" || !(content = text(file))
      File.write(file, file == "Gemfile" ? content.sub(/^(\s*ruby[\s(]+["'])=?\s*#{Regexp.escape exact}[^"']*/) { "#{$1}#{here}" } : content.sub(exact, here))
    end
  end
end
