// The least that can put messages into an MTA: SMTP with PIPELINING over several connections, one
// thread each, no ledger, no journal, no per-recipient results. Peer of bsmtp-dispatch in
// deliver_postfix_bench. Arguments: PORT CONNECTIONS DIRECTORY; sends each message of the
// accepted parcels in DIRECTORY (one SMTP transaction in spool form: MAIL, RCPT..., DATA, stuffed
// text, dot; its length stands in `meta`) to 127.0.0.1:PORT. Exit 0 when each got its 250; prints
// how many.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

void need(bool condition, const std::string& what) {
  if (!condition) {
    std::fprintf(stderr, "deliver_peer: %s\n", what.c_str());
    std::exit(1);
  }
}

class Connection {
 public:
  explicit Connection(int port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    need(::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0, "connect");
    const int one = 1;
    ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() { ::close(fd_); }

  void send(std::string_view data) const {
    while (!data.empty()) {
      const ssize_t n = ::send(fd_, data.data(), data.size(), MSG_NOSIGNAL);
      need(n > 0, "send");
      data.remove_prefix(static_cast<std::size_t>(n));
    }
  }

  // Reads one reply, which must begin with `code`.
  void expect(std::string_view code) {
    std::string line;
    do {
      line = next_line();
    } while (line.size() > 3 && line[3] == '-');
    need(line.starts_with(code), line.empty() ? "connection lost" : line);
  }

 private:
  std::string next_line() {
    for (;;) {
      const std::size_t end = buffer_.find('\n');
      if (end != std::string::npos) {
        std::string line = buffer_.substr(0, end);
        buffer_.erase(0, end + 1);
        return line;
      }
      char block[4096];
      const ssize_t n = ::recv(fd_, block, sizeof block, 0);
      if (n <= 0) {
        return "";
      }
      buffer_.append(block, static_cast<std::size_t>(n));
    }
  }

  int fd_;
  std::string buffer_;
};

struct Message {
  std::string file;
  std::streamoff offset;
  std::size_t length;
};

std::string read_message(const Message& message) {
  std::string item(message.length, '\0');
  std::ifstream in(message.file, std::ios::binary);
  in.seekg(message.offset);
  in.read(item.data(), static_cast<std::streamsize>(item.size()));
  need(!in.fail(), "cannot read " + message.file);
  return item;
}

// The messages of one parcel, by the lines "message: NAME DIGEST OCTETS LENGTH ..." of its meta.
void add_messages(const std::filesystem::path& parcel, std::vector<Message>& out) {
  std::ifstream meta(parcel / "meta");
  std::streamoff offset = 0;
  for (std::string line; std::getline(meta, line);) {
    if (line.starts_with("message: ")) {
      std::istringstream words(line);
      std::string word;
      std::size_t length = 0;
      words >> word >> word >> word >> word >> length;
      need(!words.fail(), (parcel / "meta").string() + ": not the lines expected");
      out.push_back({(parcel / "messages").string(), offset, length});
      offset += static_cast<std::streamoff>(length);
    }
  }
}

void client(int port, const std::vector<Message>& messages, std::atomic<std::size_t>& next) {
  Connection connection(port);
  connection.expect("220");
  connection.send("EHLO bench.domain.com\r\n");
  connection.expect("250");
  for (std::size_t i = next++; i < messages.size(); i = next++) {
    const std::string item = read_message(messages[i]);
    const std::size_t text = item.find("\r\nDATA\r\n") + 8;
    const std::string_view commands = std::string_view(item).substr(0, text);
    connection.send(commands);
    std::size_t lines = 0;
    for (const char c : commands) {
      lines += c == '\n' ? 1 : 0;
    }
    for (std::size_t line = 1; line < lines; ++line) {
      connection.expect("250");
    }
    connection.expect("354");
    connection.send(std::string_view(item).substr(text));
    connection.expect("250");
  }
  connection.send("QUIT\r\n");
  connection.expect("221");
}

}  // namespace

int main(int argc, char** argv) {
  need(argc == 4, "usage: deliver_peer PORT CONNECTIONS DIRECTORY");
  std::vector<Message> messages;
  for (const auto& entry : std::filesystem::directory_iterator(argv[3])) {
    add_messages(entry.path(), messages);
  }
  std::atomic<std::size_t> next{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < std::atoi(argv[2]); ++i) {
    clients.emplace_back([&] { client(std::atoi(argv[1]), messages, next); });
  }
  for (std::thread& each : clients) {
    each.join();
  }
  std::printf("%zu\n", messages.size());
  return 0;
}
