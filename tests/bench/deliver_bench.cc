// Delivery of accepted messages: bsmtp-dispatch against a bare client that does nothing but speak
// pipelined SMTP over as many connections. Both into the same sink, in turns. The sink is a
// server of our own that does what an MTA must: each message into a file, fsync, then 250.
// Measured at the sink, from the first MAIL to the last 250; prints both rates and the ratio
// per round and the median of the ratios. Usage: deliver_bench [ROUNDS [MESSAGES [MICROSECONDS]]]
// MICROSECONDS of processor time are burnt per message, as an MTA's own work does.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "common/base/id.h"
#include "common/base/text.h"
#include "common/digest/sha256.h"
#include "common/spool/accepted.h"

namespace {

namespace fs = std::filesystem;
using SteadyClock = std::chrono::steady_clock;
constexpr int kConnections = 4;
constexpr std::size_t kPerParcel = 100;

void need(bool condition, const char* what) {
  if (!condition) {
    std::perror(what);
    std::exit(1);
  }
}

void send_all(int fd, std::string_view data) {
  while (!data.empty()) {
    const ssize_t n = ::send(fd, data.data(), data.size(), MSG_NOSIGNAL);
    need(n > 0, "send");
    data.remove_prefix(static_cast<std::size_t>(n));
  }
}

class Lines {
 public:
  explicit Lines(int fd) : fd_(fd) {}
  // With its line end; "" at the end.
  std::string next() {
    for (;;) {
      const std::size_t end = buffer_.find('\n', at_);
      if (end != std::string::npos) {
        std::string line = buffer_.substr(at_, end + 1 - at_);
        at_ = end + 1;
        return line;
      }
      buffer_.erase(0, at_);
      at_ = 0;
      char block[65536];
      const ssize_t n = ::recv(fd_, block, sizeof block, 0);
      if (n <= 0) {
        return "";
      }
      buffer_.append(block, static_cast<std::size_t>(n));
    }
  }
  bool pending() const { return at_ < buffer_.size(); }

 private:
  int fd_;
  std::string buffer_;
  std::size_t at_ = 0;
};

class Sink {
 public:
  Sink(std::string directory, long work) : directory_(std::move(directory)), work_(work) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    need(::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0, "bind");
    need(::listen(listener_, 64) == 0, "listen");
    socklen_t size = sizeof address;
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    std::thread([this] { accept_all(); }).detach();
  }
  int port() const { return port_; }
  void reset() {
    const std::lock_guard<std::mutex> lock(mutex_);
    taken_ = 0;
    begun_ = false;
  }
  std::size_t taken() const { return taken_; }
  double seconds() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return std::chrono::duration<double>(last_ - first_).count();
  }

 private:
  void accept_all() {
    for (;;) {
      const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      need(fd >= 0, "accept");
      const int one = 1;
      ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
      std::thread([this, fd] {
        serve(fd);
        ::close(fd);
      }).detach();
    }
  }

  void serve(int fd) {
    Lines lines(fd);
    std::string out = "220 sink\r\n";
    for (;;) {
      if (!lines.pending()) {
        send_all(fd, out);
        out.clear();
      }
      const std::string line = lines.next();
      if (line.empty()) {
        return;
      }
      if (line.starts_with("EHLO")) {
        out += "250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-DSN\r\n250 SIZE\r\n";
      } else if (line.starts_with("DATA")) {
        send_all(fd, out + "354 go\r\n");
        out = take(lines) + "\r\n";
      } else if (line.starts_with("QUIT")) {
        send_all(fd, out + "221 bye\r\n");
        return;
      } else {
        if (line.starts_with("MAIL")) {
          begin();
        }
        out += "250 ok\r\n";
      }
    }
  }

  void begin() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!begun_) {
      begun_ = true;
      first_ = SteadyClock::now();
    }
  }

  void burn() const {
    const auto cpu = [] {
      timespec now{};
      ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
      return now.tv_sec * 1000000L + now.tv_nsec / 1000;
    };
    const long begun = cpu();
    while (cpu() - begun < work_) {
    }
  }

  std::string take(Lines& lines) {
    std::string text;
    for (std::string line = lines.next(); line != ".\r\n"; line = lines.next()) {
      if (line.empty()) {
        return "451 lost";
      }
      text += line;
    }
    burn();
    const std::size_t number = ++serial_;
    const std::string path = directory_ + "/" + std::to_string(number % 5000);
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    need(fd >= 0, "open");
    need(::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()), "write");
    need(::fsync(fd) == 0, "fsync");
    ::close(fd);
    const std::lock_guard<std::mutex> lock(mutex_);
    ++taken_;
    last_ = SteadyClock::now();
    return "250 2.0.0 Ok: queued as " + std::to_string(number);
  }

  std::string directory_;
  long work_;
  int listener_ = -1;
  int port_ = 0;
  std::mutex mutex_;
  std::atomic<std::size_t> serial_{0};
  std::atomic<std::size_t> taken_{0};
  bool begun_ = false;
  SteadyClock::time_point first_;
  SteadyClock::time_point last_;
};

std::string text_of(std::size_t n) {
  std::string text = "Message-ID: <" + std::to_string(n) + "@x>\r\nSubject: mail\r\n\r\n";
  while (text.size() < 4096) {
    text += "The quick brown fox jumps over the lazy dog, again and again.\r\n";
  }
  return text;
}

std::string head_of(std::size_t n) {
  return "MAIL FROM:<ann@domain.co.uk>\r\nRCPT TO:<u" + std::to_string(n) + "@domain.com>\r\n";
}

struct Message {
  std::string file;
  std::streamoff offset;
  std::size_t length;
};

// The peer: reads the same files and pipelines MAIL, RCPT, DATA; waits for 354, sends text.
void bare_client(int port, const std::vector<Message>& files, std::atomic<std::size_t>& next) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  need(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0, "connect");
  const int one = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  Lines lines(fd);
  const auto reply = [&] {
    std::string line = lines.next();
    while (line.size() > 3 && line[3] == '-') {
      line = lines.next();
    }
    return line;
  };
  reply();
  send_all(fd, "EHLO bench\r\n");
  reply();
  for (std::size_t i = next++; i < files.size(); i = next++) {
    std::string item(files[i].length, '\0');
    std::ifstream in(files[i].file, std::ios::binary);
    in.seekg(files[i].offset);
    in.read(item.data(), static_cast<std::streamsize>(item.size()));
    need(!in.fail(), "read");
    const std::size_t data = item.find("DATA\r\n") + 6;
    send_all(fd, std::string_view(item).substr(0, data));
    reply();
    reply();
    need(reply().starts_with("354"), "354");
    send_all(fd, std::string_view(item).substr(data));
    need(reply().starts_with("250"), "250");
  }
  send_all(fd, "QUIT\r\n");
  reply();
  ::close(fd);
}

// Parcels as bsmtp-in leaves them; the messages' places for the bare client.
std::vector<Message> make_accepted(const std::string& spool, std::size_t messages,
                                   std::size_t round) {
  namespace sp = bsmtp::spool;
  std::vector<Message> files;
  for (std::size_t start = 0; start < messages; start += kPerParcel) {
    const auto now = bsmtp::system_clock().now();
    sp::AcceptedMeta meta;
    meta.peer = "remote1";
    meta.parcel_id = bsmtp::make_id(now).value();
    meta.digest = bsmtp::digest::sha256_hex(meta.parcel_id);
    meta.accepted = now;
    meta.expires = now + std::chrono::hours(24);
    meta.peer_host = "athena.domain.co.uk";
    const std::string tmp = spool + "/inbound/tmp/" + meta.parcel_id;
    const std::string final_path =
        spool + "/inbound/accepted/" + sp::accepted_directory_name("remote1", meta.parcel_id);
    fs::create_directory(tmp);
    std::ofstream all(tmp + "/messages", std::ios::binary);
    std::streamoff offset = 0;
    for (std::size_t i = 1; i <= kPerParcel; ++i) {
      const std::size_t n = round * 1000000 + start + i;
      const std::string text = text_of(n);
      const std::string item = head_of(n) + "DATA\r\n" + text + ".\r\n";
      all << item;
      meta.messages.push_back({bsmtp::digest::sha256_hex(text), text.size(), item.size(), {}});
      files.push_back({final_path + "/messages", offset, item.size()});
      offset += static_cast<std::streamoff>(item.size());
    }
    all.close();
    std::ofstream(tmp + "/meta") << sp::format_accepted_meta(meta).value();
    fs::rename(tmp, final_path);
  }
  return files;
}

void run_dispatch(const std::string& config) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    const int null = ::open("/dev/null", O_WRONLY);
    ::dup2(null, 2);
    ::execl(BSMTP_DISPATCH, "bsmtp-dispatch", "--config", config.c_str(), "--once", nullptr);
    ::_exit(127);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  need(WIFEXITED(status) && WEXITSTATUS(status) == 0, "bsmtp-dispatch");
}

}  // namespace

int main(int argc, char** argv) {
  const std::size_t rounds = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 5;
  const std::size_t messages = argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 1000;
  const long work = argc > 3 ? std::strtol(argv[3], nullptr, 10) : 0;
  char pattern[] = "/var/tmp/deliver-bench-XXXXXX";
  const std::string root = ::mkdtemp(pattern);
  fs::create_directories(root + "/sink");
  fs::create_directories(root + "/spool");
  Sink sink(root + "/sink", work);
  const std::string config = root + "/bsmtp.conf";
  std::ofstream(config) << "host = hub.domain.com\nspool-directory = " << root
                        << "/spool\nopenpgp-directory = " << root
                        << "/pgp\nrewrite-rules = " << root << "/rewrite\nexport-map = " << root
                        << "/map\nresubmit = smtp://127.0.0.1:" << sink.port()
                        << "\nresubmit-connections = " << kConnections
                        << "\nlog-level = error\n[peer.remote1]\nhost = athena.domain.co.uk\n"
                           "profile = rfc2442\nrecipient-domains = *\n";
  run_dispatch(config);
  std::vector<double> ratios;
  for (std::size_t round = 1; round <= rounds; ++round) {
    const auto files = make_accepted(root + "/spool", messages, round);
    sink.reset();
    std::atomic<std::size_t> next{0};
    std::vector<std::thread> clients;
    for (int i = 0; i < kConnections; ++i) {
      clients.emplace_back([&] { bare_client(sink.port(), files, next); });
    }
    for (std::thread& client : clients) {
      client.join();
    }
    need(sink.taken() == messages, "bare client");
    const double bare = static_cast<double>(messages) / sink.seconds();
    sink.reset();
    run_dispatch(config);
    need(sink.taken() == messages, "dispatch");
    const double ours = static_cast<double>(messages) / sink.seconds();
    ratios.push_back(ours / bare);
    std::printf("round %zu: bare client %.0f/s, bsmtp-dispatch %.0f/s, ratio %.2f\n", round, bare,
                ours, ours / bare);
  }
  std::sort(ratios.begin(), ratios.end());
  std::printf("median ratio %.2f (%zu messages of 4 KiB, %d connections)\n",
              ratios[ratios.size() / 2], messages, kConnections);
  fs::remove_all(root);
  return 0;
}
