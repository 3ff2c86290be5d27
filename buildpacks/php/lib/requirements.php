<?php
// Compares the PHP versions and extensions that composer.json and composer.lock require with this PHP. Prints one
// sentence for each requirement that this PHP does not meet, and then exits with 1.

$text = preg_replace('/^\xEF\xBB\xBF/', '', file_get_contents('composer.json'));
$root = json_decode($text, true);
// The buildpack composer says why a file cannot be read.
if (!is_array($root)) exit(0);
$lock = is_file('composer.lock') ? json_decode(file_get_contents('composer.lock'), true) : null;
$packages = $lock['packages'] ?? [];

$provided = [];
foreach ([$root, ...$packages] as $package) {
    $provided += ($package['provide'] ?? []) + ($package['replace'] ?? []);
}

/** Tells whether a version fits a constraint. Without Composer's own library, every version fits. */
function fits(string $version, string $constraint): bool
{
    $library = '/usr/share/php/Composer/Semver/autoload.php';
    if (!is_file($library)) return true;
    require_once $library;
    try {
        return Composer\Semver\Semver::satisfies($version, $constraint);
    } catch (UnexpectedValueException) {
        return true;
    }
}

$line = function (string $name) use ($text): int {
    $at = strpos($text, '"' . $name . '"', (int) strpos($text, '"require"'));
    return substr_count($text, "\n", 0, (int) $at) + 1;
};

$troubles = [];
foreach ([['require' => $root['require'] ?? []], ...$packages] as $package) {
    foreach ($package['require'] ?? [] as $name => $constraint) {
        $name = strtolower($name);
        $who = isset($package['name']) ? "$package[name] in composer.lock" : 'composer.json line ' . $line($name);
        if (isset($troubles[$name]) || isset($provided[$name]) || !is_string($constraint)) continue;
        if ($name === 'php' && !fits(PHP_VERSION, $constraint)) {
            $short = PHP_MAJOR_VERSION . '.' . PHP_MINOR_VERSION;
            $troubles[$name] = "$who requires PHP $constraint, but this server has only PHP $short. Write \"^$short\" there, if the tool also runs on it, and run composer update.";
        }
        if (!str_starts_with($name, 'ext-')) continue;
        $extension = substr($name, 4);
        $extension = $extension === 'zend-opcache' ? 'Zend OPcache' : $extension;
        if (!extension_loaded($extension)) {
            $troubles[$name] = "$who requires the PHP extension $extension, which this server does not have. Write php-$extension into a file Aptfile, or remove the requirement.";
        } elseif (!fits(phpversion($extension) ?: PHP_VERSION, $constraint)) {
            $troubles[$name] = "$who requires version $constraint of the PHP extension $extension, but " . phpversion($extension) . ' is on this server. Change the requirement, if the tool also runs on this version.';
        }
    }
}
foreach ($troubles as $trouble) echo " !     $trouble\n";
exit($troubles === [] ? 0 : 1);
