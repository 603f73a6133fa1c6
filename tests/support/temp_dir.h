// TempDir: a private directory that is removed with all below it at the end of a test.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace bsmtp::test {

class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }
  std::string operator/(std::string_view name) const;

 private:
  std::string path_;
};

// Test conveniences; they abort with the path on failure.
std::string slurp(const std::string& path);
void spit(const std::string& path, std::string_view contents);
std::vector<std::string> names_in(const std::string& dir);  // sorted

}  // namespace bsmtp::test
