// Each substitution and each control, once where it works and once where it does not.
#include "common/rewrite/template.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/unit/common/rewrite/rewrite_fixture.h"

namespace bsmtp::rewrite {
namespace {

// The user part that `text` makes for user `user` at a host matched as H + D.
std::string expand(const std::string& text, const std::string& user, const std::string& unmatched,
                   const std::string& matched, const std::string& rest = "") {
  // The views into `source` live as long as it does.
  const std::string source = text + "@X";
  const auto t = compile_template(source);
  EXPECT_TRUE(t.is_ok()) << text << ": " << t.status().to_string();
  const std::string host = unmatched + matched;
  std::string why;
  const auto parts = expand_template(t.value(), Match{user, host, unmatched, matched, rest}, &why);
  return parts ? parts->front() : "fails: " + why;
}

TEST(Template, Substitutions) {
  const std::string h = "a.b.c";
  const std::string d = ".d.e.org";
  const struct {
    const char* text;
    const char* user;
    const char* result;
  } rows[] = {
      {"$U", "joe+tag", "joe+tag"},
      {"$u", "joe", "joe"},
      {"$0U", "joe+tag+more", "joe"},
      {"$0U", "joe", "joe"},
      {"$1U", "joe+tag+more", "tag+more"},
      {"$1Ux", "joe", "x"},
      {"$0U", "\"a b+c\"", "\"a b\""},
      {"$1U", "\"a b+c\"", "c"},
      {"$D", "u", ".d.e.org"},
      {"$0D", "u", ".d.e.org"},
      {"$1D", "u", ".e.org"},
      {"$2D", "u", ".org"},
      {"x$3D", "u", "x"},
      {"x$9D", "u", "x"},
      {"$H", "u", "a.b.c"},
      {"$0H", "u", "a.b.c"},
      {"$1H", "u", "b.c"},
      {"$2h", "u", "c"},
      {"x$3H", "u", "x"},
      {"$&0", "u", "a"},
      {"$&2", "u", "c"},
      {"$&3", "u", "fails: there is no label 3 from the left in \"a.b.c\""},
      {"$!0", "u", "c"},
      {"$!2", "u", "a"},
      {"$!3", "u", "fails: there is no label 3 from the right in \"a.b.c\""},
      {"$*0", "u", "d"},
      {"$*2", "u", "org"},
      {"$*3", "u", "fails: there is no label 3 from the left in \".d.e.org\""},
      {"$#0", "u", "org"},
      {"$#2", "u", "d"},
      {"$#3", "u", "fails: there is no label 3 from the right in \".d.e.org\""},
      {"a$$b$%c$@d", "u", "a$b%c@d"},
      {"$\\$U$^$U$_$U", "JoE", "joeJOEJoE"},
      {"$^a$_b", "u", "Ab"},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(expand(row.text, row.user, h, d), row.result) << row.text;
  }
}

TEST(Template, SubstitutionsOfLiterals) {
  EXPECT_EQ(expand("$L", "u", "[1.2.3.4]", "", "1.2.3.4"), "1.2.3.4");
  EXPECT_EQ(expand("$&1", "u", "[1.2.3.4]", "", "1.2.3.4"), "2");
  EXPECT_EQ(expand("$!0", "u", "[1.2.3.4]", "", "1.2.3.4"), "4");
  EXPECT_EQ(expand("x$L", "u", "a", ".b"), "x");
}

TEST(Template, UniqueStringDiffersEachTime) {
  const std::string one = expand("$W", "u", "a", ".b");
  EXPECT_NE(one, expand("$W", "u", "a", ".b"));
  EXPECT_EQ(one.find_first_not_of("0123456789abcdefghijklmnopqrstuvwxyz"), std::string::npos);
}

TEST(Template, EmptyHostBecomesTheWholeHost) {
  const auto t = compile_template("$U%$H@X");
  ASSERT_TRUE(t.is_ok());
  const auto parts = expand_template(t.value(), Match{"u", "a.b", "", "a.b", ""}, nullptr);
  ASSERT_TRUE(parts);
  EXPECT_EQ(parts->at(1), "a.b");
}

TEST(Template, Refusals) {
  const struct {
    const char* text;
    const char* part_of_message;
  } rows[] = {
      {"$($H)", "`$(...)` (general database)"},
      {"${map,$U}%x@T", "`${...}` (mapping table)"},
      {"$[lib,rtn,arg]%x@T", "`$[...]` (site routine)"},
      {"$]ldap:x[%x@T", "`$]` (LDAP)"},
      {"$U%$=@T", "`$=` (LDAP)"},
      {"$U%$H@T$Vhost", "`$V` (LDAP)"},
      {"$U%$H@T$Zhost", "`$Z` (LDAP)"},
      {"$U%$H@T$1~", "`$1~` is not supported"},
      {"$U%$H@T$~", "`$~` is not a known sequence"},
      {"$U%$2A@T", "`$2A` is not supported"},
      {"$U%$1X@T", "`$1X` is not supported"},
      {"$2U%x@T", "`$2U` is not supported"},
      {"$12H%x@T", "`$12H` is not supported"},
      {"$U%$&@T", "`$&` needs a digit"},
      {"$U%$#x@T", "`$#` needs a digit"},
      {"$U%x@T$", "unfinished `$`"},
      {"$U%x@T$1", "unfinished `$`"},
      {"$U%x@T$N", "`$N` needs a channel name"},
      {"$U%x@T$Mab$E", "put it before `$M`"},
      {"$U", "a template is A%B"},
      {"$U%x%y@T", "a template is A%B"},
      {"$U@x%y", "a template is A%B"},
      {"$U@a@b@c@d", "a template is A%B"},
      {"%x@T", "no user part"},
      {"$U%x@", "no routing system"},
      {"$6001002?x", "x 4 or 5"},
      {"$3?x", "x 4 or 5"},
      {"$U%x@T$?a$Hb", "a `$` in the text"},
  };
  for (const auto& row : rows) {
    const auto t = compile_template(row.text);
    ASSERT_FALSE(t.is_ok()) << row.text;
    EXPECT_TRUE(t.status().is_temporary());
    EXPECT_NE(t.status().text().find(row.part_of_message), std::string::npos)
        << row.text << ": " << t.status().text();
  }
}

TEST(Template, ArgumentsEndWhereTheManualSays) {
  const auto t = compile_template("$U$Mone$MTwo%$H$Nthree@T$Qfour$Cfive$Tsix|$4003002?go away");
  ASSERT_TRUE(t.is_ok()) << t.status().to_string();
  EXPECT_EQ(t->source_is, (std::vector<std::string>{"one", "two"}));
  EXPECT_EQ(t->source_not, std::vector<std::string>{"three"});
  EXPECT_EQ(t->target_is, std::vector<std::string>{"four"});
  EXPECT_EQ(t->target_not, std::vector<std::string>{"five"});
  EXPECT_EQ(t->tag, "six|");
  EXPECT_EQ(t->error_text, "go away");
  EXPECT_EQ(t->error_code, "4.3.2");
  EXPECT_EQ(t->form, Form::kRoute);
}

// --- controls, through the engine ---------------------------------------------------------------

bool applies(const std::string& controls, const Query& query) {
  const auto rules = testing::rules_of("a.b $U%$H@BSOUT-REMOTE1" + controls);
  return classify(*rules, query).rewritten == "u@a.b";
}

Query query_of(bool envelope, bool forward, std::string_view source = "tcp_local",
               std::string_view destination = "") {
  Query query;
  query.address = "u@a.b";
  query.envelope = envelope;
  query.forward = forward;
  query.source_channel = source;
  query.destination_channel = destination;
  return query;
}

TEST(Controls, EnvelopeHeaderForwardBackward) {
  EXPECT_TRUE(applies("$E", query_of(true, true)));
  EXPECT_FALSE(applies("$E", query_of(false, true)));
  EXPECT_TRUE(applies("$B", query_of(false, true)));
  EXPECT_FALSE(applies("$B", query_of(true, true)));
  EXPECT_TRUE(applies("$F", query_of(true, true)));
  EXPECT_FALSE(applies("$F", query_of(true, false)));
  EXPECT_TRUE(applies("$R", query_of(true, false)));
  EXPECT_FALSE(applies("$R", query_of(true, true)));
  EXPECT_TRUE(applies("$E$R", query_of(true, false)));
  EXPECT_FALSE(applies("$E$R", query_of(false, false)));
}

TEST(Controls, SourceChannel) {
  EXPECT_TRUE(applies("$Mtcp_local", query_of(true, true)));
  EXPECT_FALSE(applies("$Ml", query_of(true, true)));
  EXPECT_TRUE(applies("$Ml$MTCP_LOCAL", query_of(true, true)));  // one hit suffices
  EXPECT_TRUE(applies("$Nl", query_of(true, true)));
  EXPECT_FALSE(applies("$Nl$Ntcp_local", query_of(true, true)));  // one hit kills
  EXPECT_FALSE(applies("$Mtcp_local$Ntcp_local", query_of(true, true)));
}

TEST(Controls, InternalChannel) {
  EXPECT_TRUE(applies("$1M", query_of(true, true, "reprocess")));
  EXPECT_FALSE(applies("$1M", query_of(true, true)));
  EXPECT_TRUE(applies("$1N", query_of(true, true)));
  EXPECT_FALSE(applies("$1N", query_of(true, true, "conversion")));
}

TEST(Controls, DestinationChannelDoesNotCountForEnvelopeRecipients) {
  EXPECT_TRUE(applies("$Qx", query_of(true, true, "l", "y")));
  EXPECT_TRUE(applies("$Cy", query_of(true, true, "l", "y")));
  EXPECT_TRUE(applies("$Qx$Qy", query_of(false, true, "l", "Y")));
  EXPECT_FALSE(applies("$Qx", query_of(false, true, "l", "y")));
  EXPECT_TRUE(applies("$Cx", query_of(true, false, "l", "y")));
  EXPECT_FALSE(applies("$Cx$Cy", query_of(true, false, "l", "y")));
}

TEST(Controls, PlaceOfTheHost) {
  const struct {
    const char* controls;
    const char* address;
    bool applies;
  } rows[] = {
      {"$S", "@a.b:u@c", true}, {"$S", "u@a.b", false},   {"$A", "u@a.b", true},
      {"$A", "u%a.b", false},   {"$P", "u%a.b", true},    {"$P", "u@a.b", false},
      {"$X", "a.b!u", true},    {"$X", "u%a.b", false},   {"$S$A", "u@a.b", true},
      {"$S$A", "a.b!u", false}, {"", "@a.b:u@c", true},   {"", "a.b!u", true},
      {"$P$X", "a.b!u", true},  {"$P$X", "u@a.b", false},
  };
  for (const auto& row : rows) {
    const auto rules = testing::rules_of(std::string("a.b $U%$H@BSOUT-REMOTE1") + row.controls);
    const Decision d = testing::ask(*rules, row.address);
    EXPECT_EQ(d.routing_system == "BSOUT-REMOTE1", row.applies)
        << row.controls << " " << row.address;
  }
}

}  // namespace
}  // namespace bsmtp::rewrite
