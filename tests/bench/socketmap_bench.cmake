# bsmtp-milter's socketmap against one that only looks into a hash table.
if(TARGET bsmtp-milter)
  add_executable(socketmap_bench EXCLUDE_FROM_ALL ${CMAKE_CURRENT_LIST_DIR}/socketmap_bench.cc)
  target_link_libraries(socketmap_bench PRIVATE bsmtp_flags bsmtp_test_support bsmtp_common_socketmap
                        bsmtp_common_base Threads::Threads)
  target_compile_definitions(socketmap_bench PRIVATE BSMTP_MILTER="$<TARGET_FILE:bsmtp-milter>")
  add_dependencies(socketmap_bench bsmtp-milter)
  add_dependencies(benchmarks socketmap_bench)
endif()
