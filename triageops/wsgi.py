import gc
import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "triageops.settings")
application = get_wsgi_application()

# What is loaded now stays for ever: the collector need not look at it again and again, which a bulk call with its many
# small objects would make it do. Worth a tenth of the time of a call.
gc.collect()
gc.freeze()
gc.set_threshold(50_000, 20, 50)
