# bsmtp-milter against milters that do nothing, or only what cannot be left out.
if(TARGET bsmtp-milter)
  add_executable(milter_peer EXCLUDE_FROM_ALL ${CMAKE_CURRENT_LIST_DIR}/milter_peer.cc)
  target_link_libraries(milter_peer PRIVATE bsmtp_flags PkgConfig::MILTER Threads::Threads)
  add_executable(milter_bench EXCLUDE_FROM_ALL ${CMAKE_CURRENT_LIST_DIR}/milter_bench.cc)
  target_link_libraries(milter_bench PRIVATE bsmtp_flags bsmtp_test_support bsmtp_common_base
                        Threads::Threads)
  target_compile_definitions(milter_bench PRIVATE BSMTP_MILTER="$<TARGET_FILE:bsmtp-milter>"
                             MILTER_PEER="$<TARGET_FILE:milter_peer>")
  add_dependencies(milter_bench bsmtp-milter milter_peer)
  add_dependencies(benchmarks milter_bench)
endif()
