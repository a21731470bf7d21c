import time
def test_try(lab):
    lab.sandbox.add_visitors(["p0"])
    for i in range(4):
        t=time.time(); r=lab.run("sync","--json"); print(time.time()-t, r.status); 
    p=lab.start("sync","--json")
    time.sleep(0.1)
    import os
    print(os.listdir(f"/proc/{p.pid}/task"))
    p.wait()
    print(r.output)
