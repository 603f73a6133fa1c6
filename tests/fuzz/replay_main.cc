// Runs a fuzz target without libFuzzer, in the ordinary tests and under their sanitizers: over
// every seed of the folders or files given, over each seed cut at every offset, and over each
// seed with one bit flipped at every octet. A finding crashes, so reaching the end is success.
// Long seeds are cut and flipped at evenly spread places, at most kPlaces of each.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

constexpr std::size_t kPlaces = 2000;

std::size_t runs = 0;

void run(const std::string& input) {
  // An exact-size copy on the heap, so that the sanitizer sees a read of one octet too many.
  const std::vector<std::uint8_t> copy(input.begin(), input.end());
  LLVMFuzzerTestOneInput(copy.data(), copy.size());
  ++runs;
}

void run_seed(const std::string& seed) {
  run(seed);
  const std::size_t step = seed.size() / kPlaces + 1;
  for (std::size_t i = 0; i < seed.size(); i += step) {
    run(seed.substr(0, i));
    std::string flipped = seed;
    flipped[i] = static_cast<char>(flipped[i] ^ (1 << (i / step % 8)));
    run(flipped);
  }
}

bool read_file(const std::filesystem::path& path, std::string& out) {
  std::ifstream in(path, std::ios::binary);
  out.assign(std::istreambuf_iterator<char>(in), {});
  return in.good() || in.eof();
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::filesystem::path> files;
  for (int i = 1; i < argc; ++i) {
    if (!std::filesystem::is_directory(argv[i])) {
      files.emplace_back(argv[i]);
      continue;
    }
    for (const auto& entry : std::filesystem::directory_iterator(argv[i])) {
      if (entry.is_regular_file()) {
        files.push_back(entry.path());
      }
    }
  }
  std::sort(files.begin(), files.end());
  if (files.empty()) {
    std::fprintf(stderr, "usage: %s SEED-FILE-OR-FOLDER...; no seed found\n", argv[0]);
    return 1;
  }
  run("");
  for (const auto& file : files) {
    std::string seed;
    if (!read_file(file, seed)) {
      std::fprintf(stderr, "%s: cannot be read\n", file.c_str());
      return 1;
    }
    run_seed(seed);
  }
  std::printf("%zu seeds, %zu runs\n", files.size(), runs);
  return 0;
}
