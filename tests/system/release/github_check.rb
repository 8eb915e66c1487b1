#!/usr/bin/env ruby
# github_check.rb ROOT SCRIPTS - hold what is in .github to our rules, which actionlint does not know.
#
# Prints each problem, with exit status 1. The `run:` steps are written into the directory SCRIPTS, for
# shellcheck.
require "yaml"

abort "usage: github_check.rb ROOT SCRIPTS" unless ARGV.size == 2
ROOT, SCRIPTS = ARGV
@problems = []

def problem(file, text) = @problems << "#{file.delete_prefix("#{ROOT}/")}: #{text}"
def files(pattern) = Dir.glob("#{ROOT}/.github/#{pattern}").sort
def load(file) = YAML.safe_load(File.read(file))

# Actions of others run with our token. A tag can be moved to other code, a commit cannot.
def uses(file, step_or_job)
  action = step_or_job["uses"] or return
  return problem(file, "there is no #{action}") if action.start_with?("./") && !File.exist?("#{ROOT}/#{action}")
  return if action.start_with?("./")
  problem(file, "#{action} is not of GitHub itself") unless action.start_with?("actions/")
  line = File.readlines(file).find { |text| text.include?(action) }
  problem(file, "#{action} is no commit with its version beside it") unless line =~ /@\h{40} # v\d+(\.\d+)*$/
end

def step(file, name, number, step)
  uses(file, step)
  if step["uses"].to_s.start_with?("actions/checkout@") && step.dig("with", "persist-credentials") != false
    problem(file, "#{name}: the token stays behind after the checkout")
  end
  return unless (script = step["run"])
  problem(file, "#{name}: an expression in a script is code: pass it in the environment") if script.include?("${{")
  # Without a word GitHub runs bash, and in a container sh; both with -e.
  File.write("#{SCRIPTS}/#{File.basename(file, ".yml")}-#{name}-#{number}.sh", "#!/bin/sh\nset -e\n#{script}")
  script.scan(%r{(?:^|\s)((?:\.ci|packaging|tests)/[\w./-]+)}) do |(path)|
    problem(file, "#{name}: there is no program #{path}") unless File.executable?("#{ROOT}/#{path}")
  end
end

def workflow(file)
  text = load(file)
  problem(file, "may do more than read, in every job") unless text["permissions"] == { "contents" => "read" }
  problem(file, "runs twice at a time") unless text.dig("concurrency", "group")
  text["jobs"].each do |name, job|
    uses(file, job)
    next if job["uses"]
    problem(file, "#{name} may run for six hours") unless job["timeout-minutes"]
    job["steps"].each_with_index { |each, number| step(file, name, number, each) }
  end
end

# An issue form, as GitHub takes it: an unknown kind or a missing label and the form is not shown.
def form(file)
  text = load(file)
  %w[name description].each { |key| problem(file, "has no #{key}") unless text[key].is_a?(String) }
  ids = text["body"].filter_map { |element| element["id"] }
  problem(file, "has an id twice") unless ids == ids.uniq
  text["body"].each do |element|
    attributes = element["attributes"] || {}
    wanted = { "markdown" => %w[value], "input" => %w[label], "textarea" => %w[label],
               "dropdown" => %w[label options], "checkboxes" => %w[label options] }[element["type"]]
    next problem(file, "has an element of type #{element["type"]}") unless wanted
    wanted.each { |key| problem(file, "#{element["type"]} #{element["id"]} has no #{key}") unless attributes[key] }
    problem(file, "#{element["type"]} without an id") unless element["type"] == "markdown" || element["id"]
  end
end

def dependabot(file)
  text = load(file)
  problem(file, "is not of version 2") unless text["version"] == 2
  manifest = { "cargo" => "Cargo.lock", "npm" => "package-lock.json", "github-actions" => ".github/workflows" }
  found = text["updates"].flat_map do |update|
    Array(update["directories"] || update["directory"]).map do |directory|
      path = File.join(directory, manifest.fetch(update["package-ecosystem"])).delete_prefix("/")
      problem(file, "there is no #{path}") unless File.exist?("#{ROOT}/#{path}")
      path
    end
  end
  locks = Dir.glob("{.,tests/**}/{Cargo.lock,package-lock.json}", base: ROOT).map { |path| path.delete_prefix("./") }
  (locks - found).each { |path| problem(file, "does not look after #{path}") }
end

files("workflows/*.yml").each { |file| workflow(file) }
files("ISSUE_TEMPLATE/*.yml").reject { |file| file.end_with?("/config.yml") }.each { |file| form(file) }
dependabot("#{ROOT}/.github/dependabot.yml")
abort @problems.join("\n") if @problems.any?
