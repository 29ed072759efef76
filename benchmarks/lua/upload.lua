-- A form of one kibibyte.
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
wrk.body = "text=" .. string.rep("x", 1019)
